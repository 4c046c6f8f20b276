//! Resources as JSON documents: asking the server for them, and which ones a person names.

use anyhow::Context as _;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::server::Server;

/// Which resources a person asked for: kinds, and names if any were given.
#[derive(Debug, Clone)]
pub struct Request {
    /// The kinds, in the order to try them.
    pub kinds: Vec<Kind>,
    /// The names; none for all.
    pub names: Vec<String>,
}

impl Request {
    /// From the words of a command line: `KIND[,KIND…] [NAME…]` or `KIND/NAME…`.
    pub fn parse(words: &[String]) -> Result<Vec<Self>, Failure> {
        let (first, rest) =
            words.split_first().ok_or_else(|| Failure::new("name a kind of resource, e.g. `jobs`"))?;
        if words.iter().any(|word| word.contains('/')) {
            return words.iter().map(|word| Self::one(word)).collect();
        }
        let mut kinds = Vec::new();
        for word in first.split(',') {
            kinds.extend(Kind::named(word)?);
        }
        Ok(vec![Self { kinds, names: rest.to_vec() }])
    }

    /// From one word `KIND/NAME`.
    pub fn one(word: &str) -> Result<Self, Failure> {
        match word.split_once('/') {
            Some((kind, name)) if !name.is_empty() && !name.contains('/') => {
                Ok(Self { kinds: Kind::named(kind)?, names: vec![name.to_owned()] })
            }
            _ => Err(Failure::new(format!("`{word}` is not KIND/NAME")).hint("write it like job/digits")),
        }
    }
}

/// The resources of `kind` in a namespace, or in all of them.
pub fn api(server: &Server, kind: &Kind, everywhere: bool) -> Api<DynamicObject> {
    if kind.namespaced && !everywhere {
        Api::namespaced_with(server.client.clone(), &server.namespace, &kind.resource)
    } else {
        Api::all_with(server.client.clone(), &kind.resource)
    }
}

/// A resource as a document with `apiVersion` and `kind`, without the record of who wrote which field.
pub fn document(kind: &Kind, mut object: DynamicObject) -> Value {
    object.types = None;
    object.metadata.managed_fields = None;
    let mut document = json!({"apiVersion": kind.resource.api_version, "kind": kind.resource.kind});
    if let (Value::Object(into), Ok(Value::Object(from))) = (&mut document, serde_json::to_value(object)) {
        into.extend(from);
    }
    document
}

/// All resources of `kind` that match.
pub async fn list(
    server: &Server,
    kind: &Kind,
    everywhere: bool,
    params: &ListParams,
) -> anyhow::Result<Vec<Value>> {
    let api = api(server, kind, everywhere);
    let mut params = params.clone().limit(500);
    let mut documents = Vec::new();
    loop {
        let page =
            api.list(&params).await.with_context(|| format!("cannot list {}", kind.resource.plural))?;
        let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
        documents.extend(page.items.into_iter().map(|object| document(kind, object)));
        match next {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(documents),
        }
    }
}

/// The resource called `name`, of the first of `kinds` that has it.
pub async fn find(server: &Server, kinds: &[Kind], name: &str) -> anyhow::Result<Option<(Kind, Value)>> {
    for kind in kinds {
        if let Some(object) = api(server, kind, false).get_opt(name).await? {
            return Ok(Some((kind.clone(), document(kind, object))));
        }
    }
    Ok(None)
}

/// As [`find`], but one that is not there is a failure.
pub async fn get(server: &Server, kinds: &[Kind], name: &str) -> anyhow::Result<(Kind, Value)> {
    find(server, kinds, name).await?.ok_or_else(|| absent(server, kinds, name).into())
}

/// That no resource of `kinds` is called `name`.
pub fn absent(server: &Server, kinds: &[Kind], name: &str) -> Failure {
    let what = match kinds {
        [kind] => kind.singular(),
        _ => "resource",
    };
    let place = if kinds.iter().any(|kind| kind.namespaced) {
        format!(" in namespace {}", server.namespace)
    } else {
        String::new()
    };
    let plural = kinds.first().map_or("all", |kind| kind.resource.plural.as_str());
    Failure::new(format!("there is no {what} `{name}`{place}"))
        .hint(format!("`sedge get {plural} -A` lists what there is"))
}

/// The text at a JSON pointer, empty where there is none.
pub fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A resource's name.
pub fn name(document: &Value) -> &str {
    text(document, "/metadata/name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Vec<(usize, Vec<String>)>, Failure> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Ok(Request::parse(&words)?.into_iter().map(|r| (r.kinds.len(), r.names)).collect())
    }

    #[test]
    fn kinds_and_names_are_read_as_kubectl_reads_them() {
        assert_eq!(parse(&["wk"]).unwrap(), [(1, vec![])]);
        assert_eq!(parse(&["wk,ds"]).unwrap(), [(2, vec![])]);
        assert_eq!(parse(&["wk", "a", "b"]).unwrap(), [(1, vec!["a".to_owned(), "b".to_owned()])]);
        assert_eq!(parse(&["wk/a", "ds/b"]).unwrap(), [(1, vec!["a".to_owned()]), (1, vec!["b".to_owned()])]);
    }

    #[test]
    fn a_word_that_names_nothing_is_refused() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["wk/a", "b"]).is_err());
        assert!(parse(&["wk/a/b"]).is_err());
    }
}
