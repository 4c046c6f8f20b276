//! What requests do to objects, each inside one transaction of the store.
//!
//! The routes parse a request and call one of these; they put the pure rules (`object`, `schema`, `patch`)
//! between what is stored and what is to be.

mod admission;
mod delete;
mod write;

pub use admission::Validation;
pub use delete::{DeleteOptions, Propagation, delete, delete_collection};
pub use write::{Written, create, patch, replace};

use super::kinds::Kind;
use super::status::ApiError;
use super::store::{Key, Tx};

/// The namespace of a new object must be there, and stay.
fn check_namespace(tx: &Tx<'_>, namespaces: &Kind, kind: &Kind, key: &Key) -> Result<(), ApiError> {
    if !kind.namespaced {
        return Ok(());
    }
    let namespace = tx.get(&Key::new(&namespaces.resource, "", &key.namespace))?;
    match namespace {
        None => Err(ApiError::not_found(namespaces, &key.namespace)),
        Some(namespace) if super::object::is_deleting(&namespace) => {
            let why =
                format!("the namespace {} is being terminated; nothing can be made in it", key.namespace);
            Err(ApiError::forbidden(kind, &key.name, why))
        }
        Some(_) => Ok(()),
    }
}
