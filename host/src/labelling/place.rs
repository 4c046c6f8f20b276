//! Where labelled rows of a dataset go: a file of its own in the dataset's folder, under a name by the digest of what was
//! brought. Blocking.

use cap_std::fs::Dir;
use sedge_api::Digest;
use sedge_data::{Fingerprints, Form, Origin};

use super::Refusal;
use crate::artifacts::durable;
use crate::worker::Held;

/// How names of such files begin.
const PREFIX: &str = "labelled-";
/// Digits of the digest in a name.
const DIGITS: usize = 12;

/// The place of one file.
pub(super) struct Place {
    folder: Dir,
    /// Of the folder, below the node's dataset directory.
    path: String,
    name: String,
    form: Form,
}

impl Place {
    /// For what has this digest.
    pub fn find(held: &Held, form: Form, digest: &Digest) -> Result<Self, Refusal> {
        let (name, path) = (&held.name, held.path.trim_end_matches('/'));
        let unsuitable = |message: String| Err(Refusal::new("DatasetUnsuitable", message));
        if held.elsewhere {
            return unsuitable(format!(
                "{name} is read from a store or a server, which nodes do not write to; put the labelled file there"
            ));
        }
        if held.description.format != form.format() {
            return unsuitable(format!(
                "the files of {name} are {}, this one is {}; bring one like them, or put one into the folder {path} of the node",
                format_name(held.description.format),
                form.extension()
            ));
        }
        let last = path.rsplit('/').next().unwrap_or(path);
        let advice = || {
            let folder = last.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or("samples");
            format!(
                "{name} reads the one file {path}; what is imported is a file of its own, so its path must be a folder: on \
                 the node, move the file into one, `{folder}/{last}` say, and say `path: {folder}`"
            )
        };
        match held.folder.metadata(path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return unsuitable(advice()),
            // A name like a file's is one of a file that is still to come.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && last.contains('.') => {
                return unsuitable(advice());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                held.folder.create_dir_all(path).map_err(|error| Refusal::disk(&error))?;
            }
            Err(error) => return Err(Refusal::disk(&error)),
        }
        let folder = held.folder.open_dir(path).map_err(|error| Refusal::disk(&error))?;
        let name = format!("{PREFIX}{}.{}", &digest.hex()[..DIGITS], form.extension());
        Ok(Self { folder, path: path.to_owned(), name, form })
    }

    /// As people are told of it.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.path, self.name)
    }

    /// It came in before.
    pub fn is_taken(&self) -> bool {
        self.folder.is_file(&self.name)
    }

    /// What came in before as other files.
    pub fn earlier(&self, description: &sedge_data::Description) -> Result<Fingerprints, Refusal> {
        let mut earlier = Fingerprints::default();
        let entries = self.folder.entries().map_err(|error| Refusal::disk(&error))?;
        for entry in entries {
            let name = entry.map_err(|error| Refusal::disk(&error))?.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            if !name.ends_with(self.form.extension()) {
                continue;
            }
            let folder = self.folder.try_clone().map_err(|error| Refusal::disk(&error))?;
            match sedge_data::Dataset::open(Origin::local(folder, name), description.clone()) {
                Ok(dataset) => earlier.add(&dataset.samples()),
                // Somebody has changed it; that its samples may come in twice is not worth refusing others.
                Err(error) => tracing::warn!(name, %error, "what was imported before cannot be read"),
            }
        }
        Ok(earlier)
    }

    /// A file beside it, which no dataset reads.
    pub fn begin(&self) -> Result<Pending<'_>, Refusal> {
        let name = format!(".{}.part", self.name);
        let file = self.folder.create(&name).map_err(|error| Refusal::disk(&error))?.into_std();
        Ok(Pending { place: self, name, file: Some(file) })
    }
}

fn format_name(format: sedge_data::Format) -> String {
    let name = serde_json::to_value(format).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A file that is being written; dropped before it is kept, it leaves nothing.
pub(super) struct Pending<'a> {
    place: &'a Place,
    name: String,
    pub file: Option<std::fs::File>,
}

impl Pending<'_> {
    /// In its place, whole, durably.
    pub fn keep(mut self) -> Result<(), Refusal> {
        let folder = &self.place.folder;
        let kept = match self.file.take() {
            Some(file) => file.sync_all(),
            None => Ok(()),
        };
        kept.and_then(|()| folder.rename(&self.name, folder, &self.place.name))
            .and_then(|()| durable::sync(folder))
            .map_err(|error| Refusal::disk(&error))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // It is not there once it was kept.
        let _ = self.place.folder.remove_file(&self.name);
    }
}
