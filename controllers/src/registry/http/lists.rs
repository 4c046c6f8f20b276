//! What there is: repositories, and the tags of one, page by page.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::header;
use serde_json::json;

use super::refusal::{Code, Refusal};
use super::{Parameters, blocking};
use crate::registry::Registry;
use crate::registry::names::Repository;

/// The longest page.
const MAX_PAGE: usize = 1000;

/// GET `/v2/_catalog`.
pub(super) async fn catalog(registry: &Registry, parameters: Parameters) -> Result<Response, Refusal> {
    let registry = registry.clone();
    let names = blocking(move || Ok(registry.inner.store.repositories()?)).await?;
    let (names, more) = page(names, &parameters);
    let link = more.map(|last| link("/v2/_catalog", names.len(), &last));
    Ok((link, Json(json!({ "repositories": names }))).into_response())
}

/// GET `/v2/NAME/tags/list`.
pub(super) async fn tags(
    registry: &Registry,
    repository: Repository,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let (registry, name) = (registry.clone(), repository.clone());
    let tags = blocking(move || Ok(registry.inner.store.tags(&name)?)).await?;
    let Some(tags) = tags else {
        return Err(Refusal::new(Code::NameUnknown, format_args!("there is no repository `{repository}`")));
    };
    let (tags, more) = page(tags, &parameters);
    let link = more.map(|last| link(&format!("/v2/{repository}/tags/list"), tags.len(), &last));
    Ok((link, Json(json!({ "name": repository.as_str(), "tags": tags }))).into_response())
}

/// The names after `last`, at most `n`; and the last of them, where more follow.
fn page(mut names: Vec<String>, parameters: &Parameters) -> (Vec<String>, Option<String>) {
    if let Some(last) = &parameters.last {
        names.drain(..names.partition_point(|name| name <= last));
    }
    let most = parameters.n.unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let are_more = names.len() > most;
    names.truncate(most);
    let more = names.last().filter(|_| are_more).cloned();
    (names, more)
}

fn link(path: &str, n: usize, last: &str) -> [(http::HeaderName, String); 1] {
    // Repository names and tags hold nothing that an address would have to escape but `/`, which may stay.
    [(header::LINK, format!(r#"<{path}?n={n}&last={last}>; rel="next""#))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let names = || ["a", "b", "c"].map(str::to_owned).to_vec();
        let ask = |n, last: Option<&str>| {
            page(names(), &Parameters { n, last: last.map(str::to_owned), ..Parameters::default() })
        };
        assert_eq!(ask(None, None), (names(), None));
        assert_eq!(ask(Some(2), None), (vec!["a".into(), "b".into()], Some("b".into())));
        assert_eq!(ask(Some(2), Some("b")), (vec!["c".into()], None));
        assert_eq!(ask(Some(0), None), (vec![], None));
        assert_eq!(ask(None, Some("bb")), (vec!["c".into()], None));
    }
}
