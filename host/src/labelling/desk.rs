//! What is asked for is done here, on threads that may block: one file written, or one taken, at a time for each request.

use std::io::BufWriter;
use std::sync::Arc;

use cap_std::fs::Dir;
use sedge_api::node::{MAX_LAYOUT_BYTES, MAX_TRANSFER_BYTES, TransferAnswer};
use sedge_data::{Export, FileLayout, Form, Import, Origin, Part};

use super::Refusal;
use super::place::Place;
use super::scratch::{Made, Received, Scratch};
use crate::worker::Shelf;

/// Serves transfers of the datasets of a shelf.
pub(crate) struct Desk {
    scratch: Scratch,
    shelf: Arc<Shelf>,
    /// One import at a time: what came in before is looked at.
    importing: tokio::sync::Mutex<()>,
}

/// Samples that are asked for.
pub(crate) struct Wanted {
    pub form: Form,
    /// A layout as JSON; empty: none.
    pub like: String,
    /// 0: all.
    pub latest: u64,
}

impl Desk {
    /// Of the datasets of `shelf`; files on their way lie below `data`.
    pub fn open(data: &Dir, shelf: Arc<Shelf>) -> std::io::Result<Self> {
        Ok(Self { scratch: Scratch::open(data)?, shelf, importing: tokio::sync::Mutex::new(()) })
    }

    /// How the files of a dataset are laid out, as JSON.
    pub async fn layout(&self, dataset: &str) -> Result<String, Refusal> {
        let samples = self.shelf.held(dataset)?.samples()?;
        let name = dataset.to_owned();
        blocking(move || {
            let layout = samples.layout().ok_or_else(|| {
                let text = format!("{name} has images, which have no columns to be like");
                Refusal::new("DatasetUnsuitable", text)
            })?;
            let layout = serde_json::to_string(layout.as_ref())
                .map_err(|error| Refusal::new("HostError", error.to_string()))?;
            match layout.len() as u64 {
                len if len <= MAX_LAYOUT_BYTES => Ok(layout),
                _ => Err(Refusal::new("TooLarge", format!("{name} has too many columns to be like"))),
            }
        })
        .await
    }

    /// A file of a dataset's samples, and what to say of it.
    pub async fn export(&self, dataset: &str, wanted: Wanted) -> Result<(Made, TransferAnswer), Refusal> {
        let held = self.shelf.held(dataset)?;
        let samples = held.samples()?;
        let (scratch, file) = self.scratch.create().map_err(|error| Refusal::disk(&error))?;
        let dataset = dataset.to_owned();
        blocking(move || {
            let like: Option<FileLayout> = match wanted.like.as_str() {
                "" => None,
                like => Some(serde_json::from_str(like).map_err(|error| odd_layout(&error.to_string()))?),
            };
            if like.as_ref().is_some_and(|like| !like.is_sound()) {
                return Err(odd_layout("it contradicts itself"));
            }
            let export = Export {
                form: wanted.form,
                like: like.as_ref(),
                latest: usize::try_from(wanted.latest).ok().filter(|latest| *latest > 0),
                limit: MAX_TRANSFER_BYTES,
            };
            let exported = sedge_data::export(&samples, &held.description, &export, BufWriter::new(&file));
            let exported = exported.map_err(|error| {
                let reason = match &error {
                    sedge_data::ExportError::TooLarge { .. } => "TooLarge",
                    _ => "DatasetUnsuitable",
                };
                Refusal::new(reason, format!("{dataset}: {error}"))
            })?;
            let made = Made::new(scratch, file).map_err(|error| Refusal::disk(&error))?;
            let answer = TransferAnswer {
                bytes: made.bytes,
                samples: exported.samples as u64,
                empty: exported.empty,
                ..TransferAnswer::default()
            };
            Ok((made, answer))
        })
        .await
    }

    /// A place for a file that is to be imported.
    pub fn receive(&self) -> Result<Received, Refusal> {
        let (scratch, file) = self.scratch.create().map_err(|error| Refusal::disk(&error))?;
        Ok(Received::new(scratch, file))
    }

    /// Take the labelled rows of a file that has come.
    pub async fn import(
        &self,
        dataset: &str,
        received: Received,
        form: Form,
        shown: String,
        new_labels: bool,
    ) -> Result<TransferAnswer, Refusal> {
        let held = self.shelf.held(dataset)?;
        let (scratch, digest) = received.end().await?;
        let _one_at_a_time = self.importing.lock().await;
        blocking(move || {
            let place = Place::find(&held, form, &digest)?;
            if place.is_taken() {
                return Ok(TransferAnswer {
                    file: place.shown(),
                    already: true,
                    ..TransferAnswer::default()
                });
            }
            let received = scratch.dir().try_clone().map_err(|error| Refusal::disk(&error))?;
            let origin = Origin::local(received, scratch.name.as_str());
            let known = held.dataset.as_ref().map(|dataset| Arc::clone(dataset.samples()));
            let earlier = place.earlier(&held.description)?;
            let import = Import {
                form,
                shown: &shown,
                description: &held.description,
                known: known.as_deref(),
                earlier: &earlier,
                new_labels,
                limit: MAX_TRANSFER_BYTES,
            };
            let mut pending = place.begin()?;
            let imported = match &mut pending.file {
                Some(file) => sedge_data::import(&origin, &import, file),
                None => return Err(Refusal::new("HostError", "the file was not begun")),
            };
            let imported = imported.map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
            let mut answer = TransferAnswer {
                samples: imported.samples,
                taken: imported.taken,
                unlabelled: imported.unlabelled,
                repeated: imported.repeated,
                ..TransferAnswer::default()
            };
            if imported.taken > 0 {
                pending.keep()?;
                answer.file = place.shown();
            }
            Ok(answer)
        })
        .await
    }
}

fn odd_layout(why: &str) -> Refusal {
    Refusal::new(
        "Unsupported",
        format!("the layout of the other dataset is not understood: {why}; are both nodes of one version?"),
    )
}

impl crate::worker::Held {
    /// Those that there are.
    fn samples(&self) -> Result<Arc<sedge_data::Samples>, Refusal> {
        let samples = self.dataset.as_ref().map(|dataset| Arc::clone(dataset.samples()));
        samples.filter(|samples| samples.len(Part::All) > 0).ok_or_else(|| {
            let name = &self.name;
            Refusal::new(
                "NoSamples",
                format!("{name} has no samples yet; `sedge describe dataset` says more"),
            )
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let ended =
        |error: tokio::task::JoinError| Refusal::new("HostError", format!("it ended unexpectedly: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}
