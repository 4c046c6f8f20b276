//! A dataset of the shelf as who brings samples to it, or takes some out, has to know it. Called by
//! [`labelling`](crate::labelling).

use std::sync::Arc;

use cap_std::fs::Dir;
use sedge_data::Description;
use tokio::runtime::Handle;

use super::definition::definition;
use super::{Copy, Shelf};
use crate::data::Dataset;
use crate::labelling::Refusal;

/// A dataset as who brings samples or takes them has to know it.
pub(crate) struct Held {
    /// namespace/name
    pub name: String,
    /// Its samples, where there are some.
    pub dataset: Option<Arc<Dataset>>,
    /// With the classes that were learnt.
    pub description: Arc<Description>,
    /// The node's dataset directory, and the path below it.
    pub folder: Arc<Dir>,
    pub path: String,
    /// It lies in a store or on a server, and not there.
    pub elsewhere: bool,
}

impl Shelf {
    /// A dataset, for who brings samples or takes them.
    pub(crate) fn held(&self, key: &str) -> Result<Held, Refusal> {
        let found = self.books.lock().get(key).map(|book| {
            let dataset =
                if let Copy::Ready(dataset) = &book.copy { Some(Arc::clone(dataset)) } else { None };
            (book.wanted.clone(), dataset, book.description.clone())
        });
        let (wanted, dataset, description) = found.ok_or_else(|| {
            Refusal::new(
                "DatasetNotFound",
                format!("{key} is not a dataset of this node; it may be about to be"),
            )
        })?;
        let description = match description {
            Some(description) => description,
            None => {
                let defined = definition(&wanted, &self.folder, Handle::current());
                let defined =
                    defined.map_err(|(reason, error)| Refusal::new(reason, format!("{key}: {error}")))?;
                Arc::new(defined.description)
            }
        };
        Ok(Held {
            name: key.to_owned(),
            dataset,
            description,
            folder: Arc::clone(&self.folder),
            elsewhere: wanted.elsewhere.is_some(),
            path: wanted.path,
        })
    }
}
