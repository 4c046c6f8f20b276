//! Where a paged list goes on: the `continue` token. Pure.

use base64::Engine as _;
use serde_json::json;

use crate::apiserver::status::ApiError;

/// Where a list goes on: opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The version of the first page.
    pub version: u64,
    /// Namespace of the last object told.
    pub namespace: String,
    /// Name of the last object told.
    pub name: String,
}

impl Place {
    /// As clients carry it.
    pub fn token(&self) -> String {
        let text = json!([self.version, self.namespace, self.name]).to_string();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    }

    /// From what a client brings back; nothing for the first page.
    pub fn parse(token: &str) -> Result<Option<Self>, ApiError> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
        let place: Option<(u64, String, String)> = serde_json::from_slice(&bytes).ok();
        let place = place.ok_or_else(|| ApiError::bad_request("continue is not a token of this server"))?;
        Ok(Some(Self { version: place.0, namespace: place.1, name: place.2 }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_as_it_was_written(version: u64, namespace in ".{0,9}", name in ".{0,9}") {
            let place = Place { version, namespace, name };
            prop_assert_eq!(Place::parse(&place.token()).unwrap(), Some(place));
        }

        #[test]
        fn no_token_panics_the_parser(token in ".{0,40}") {
            let _ = Place::parse(&token);
        }
    }
}
