//! DeleteOptions: how a client wants something deleted. Pure.

use serde::Deserialize;

use super::request::Parameters;
use crate::apiserver::status::ApiError;
use crate::apiserver::verbs::{DeleteOptions, Propagation};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeleteBody {
    preconditions: Option<Preconditions>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    dry_run: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// From a body of DeleteOptions, which may be empty, and the query.
pub fn parse(body: &[u8], parameters: &Parameters) -> Result<(DeleteOptions, bool), ApiError> {
    let given: DeleteBody = if body.is_empty() {
        DeleteBody::default()
    } else {
        serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("the body is not a DeleteOptions: {error}")))?
    };
    let policy = given.propagation_policy.or_else(|| parameters.propagation_policy.clone());
    let propagation = match policy.as_deref() {
        None if given.orphan_dependents == Some(true) => Propagation::Orphan,
        None | Some("" | "Background" | "Foreground") => Propagation::Background,
        Some("Orphan") => Propagation::Orphan,
        Some(other) => {
            let message =
                format!("propagationPolicy takes `Background`, `Foreground` or `Orphan`, not `{other}`");
            return Err(ApiError::bad_request(message));
        }
    };
    let preconditions = given.preconditions.unwrap_or_default();
    let options = DeleteOptions {
        uid: preconditions.uid,
        resource_version: preconditions.resource_version,
        propagation,
    };
    let dry_run = given.dry_run.is_some_and(|stages| stages.iter().any(|stage| stage == "All"));
    Ok((options, dry_run || parameters.is_dry_run()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_and_query_are_read_and_nonsense_is_refused() {
        let read = |body: &str| parse(body.as_bytes(), &Parameters::default());
        assert_eq!(read("").unwrap(), (DeleteOptions::default(), false));
        let (options, dry_run) = read(
            r#"{"kind": "DeleteOptions", "propagationPolicy": "Orphan", "dryRun": ["All"],
                "preconditions": {"uid": "u"}}"#,
        )
        .unwrap();
        assert_eq!(
            (options.propagation, options.uid.as_deref(), dry_run),
            (Propagation::Orphan, Some("u"), true)
        );
        for body in ["[", "3", r#"{"propagationPolicy": "Sideways"}"#, r#"{"preconditions": 1}"#] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}
