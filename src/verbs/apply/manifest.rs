//! Files of resources: YAML or JSON, several documents to a file, a folder of files, or standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use thiserror::Error;

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::objects;
use crate::server::Server;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 32 << 20;

/// One resource as a file has it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its kind.
    pub kind: Kind,
    /// The whole document.
    pub document: Value,
    /// Where it stands, e.g. `job.yaml, document 2`.
    pub place: String,
}

impl Manifest {
    /// Its name.
    pub fn name(&self) -> &str {
        objects::name(&self.document)
    }

    /// The server, with the namespace that the document asks for.
    pub fn server(&self, server: &Server) -> Server {
        let mut server = server.clone();
        match objects::text(&self.document, "/metadata/namespace") {
            "" => {}
            namespace => namespace.clone_into(&mut server.namespace),
        }
        server
    }

    /// `federatedlearningjob.sedge.dev/digits`
    pub fn label(&self) -> String {
        format!("{}/{}", self.kind.qualified(), self.name())
    }
}

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}, line {line}: {why}")]
pub struct BadDocument {
    place: String,
    line: usize,
    why: String,
}

/// The text of `path`, which may be `-` or a folder; each with the name to call it by.
pub fn read(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    if path == Path::new("-") {
        return Ok(vec![("standard input".to_owned(), bounded(std::io::stdin().lock(), "standard input")?)]);
    }
    let context = || format!("cannot read {}", path.display());
    if !path.is_dir() {
        let file = std::fs::File::open(path).with_context(context)?;
        let name = path.display().to_string();
        return Ok(vec![(name.clone(), bounded(file, &name)?)]);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).with_context(context)? {
        let file = entry.with_context(context)?.path();
        let known = file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if known && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Failure::new(format!("{} has no .yaml, .yml or .json file", path.display())).into());
    }
    files.sort();
    let texts = files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(texts.into_iter().flatten().collect())
}

fn bounded(source: impl std::io::Read, name: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    source.take(MAX_FILE + 1).read_to_string(&mut text).with_context(|| format!("cannot read {name}"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(Failure::new(format!("{name} is larger than {} MiB", MAX_FILE >> 20)).into());
    }
    Ok(text)
}

/// The documents of a file; each is good or bad by itself.
pub fn parse(file: &str, text: &str) -> Vec<Result<Manifest, BadDocument>> {
    let documents = split(text);
    let several = documents.len() > 1;
    let mut found = Vec::new();
    for (at, (first_line, document)) in documents.into_iter().enumerate() {
        let place = if several { format!("{file}, document {}", at + 1) } else { file.to_owned() };
        let bad = |line, why| BadDocument { place: place.clone(), line, why };
        match serde_yaml_ng::from_str::<Value>(document) {
            Ok(Value::Null) => {}
            Ok(value) => {
                let begin = first_line + document.lines().take_while(|line| is_blank(line)).count();
                let items = items(value);
                found.extend(
                    items.into_iter().map(|value| manifest(value, &place).map_err(|why| bad(begin, why))),
                );
            }
            Err(error) => {
                let line = error.location().map_or(1, |location| location.line());
                found.push(Err(bad(first_line + line.saturating_sub(1), without_place(&error.to_string()))));
            }
        }
    }
    found
}

/// Documents with the number of their first line. A `---` at the beginning of a line ends one wherever it
/// stands, in quotes too (YAML 1.2, 9.1.2).
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut first_line, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker =
            line.strip_prefix("---").is_some_and(|r| r.is_empty() || r.starts_with(char::is_whitespace));
        if marker {
            documents.push((first_line, &text[begin..at]));
            // What stands behind the marker belongs to the new document.
            (begin, first_line) = (at + 3, index + 1);
        }
        at += line.len();
    }
    documents.push((first_line, &text[begin..]));
    documents.retain(|(_, document)| !document.lines().all(is_blank));
    documents
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// The parser's message names a place within the document; ours names that within the file.
fn without_place(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

/// A List's items, or the resource itself.
fn items(mut value: Value) -> Vec<Value> {
    if value["kind"] == "List"
        && let Some(Value::Array(items)) = value.get_mut("items").map(Value::take)
    {
        return items;
    }
    vec![value]
}

fn manifest(document: Value, place: &str) -> Result<Manifest, String> {
    if !document.is_object() {
        return Err("it is not a resource: a mapping with apiVersion, kind and metadata is needed".into());
    }
    let field = |pointer: &str, name: &str| match objects::text(&document, pointer) {
        "" => Err(format!("{name} is missing")),
        text => Ok(text.to_owned()),
    };
    let (api_version, kind) = (field("/apiVersion", "apiVersion")?, field("/kind", "kind")?);
    field("/metadata/name", "metadata.name")?;
    let kind = Kind::of_document(&api_version, &kind).ok_or_else(|| {
        let known: Vec<String> =
            Kind::named("all").into_iter().flatten().map(|kind| kind.resource.kind).collect();
        format!(
            "{kind} of {api_version} is no kind that sedge knows ({} of sedge.dev/v1alpha1)",
            known.join(", ")
        )
    })?;
    Ok(Manifest { kind, document, place: place.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        parse("job.yaml", text)
            .into_iter()
            .map(|manifest| match manifest {
                Ok(manifest) => format!("{} ({})", manifest.label(), manifest.place),
                Err(bad) => bad.to_string(),
            })
            .collect()
    }

    #[test]
    fn documents_are_counted_and_the_empty_left_out() {
        let text = "
# first
---
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
# nothing
---
apiVersion: sedge.dev/v1alpha1
kind: Dataset
metadata: {name: b}
";
        assert_eq!(
            parsed(text),
            ["namespace/a (job.yaml, document 1)", "dataset.sedge.dev/b (job.yaml, document 2)"]
        );
    }

    #[test]
    fn a_bad_document_says_file_document_and_line_and_the_others_go_on() {
        let text = "apiVersion: v1
kind: Namespace
metadata: {name: a}
---
kind: Dataset
metadata:
  name: [unclosed
---
apiVersion: v1
kind: Pod
metadata: {name: p}
";
        insta::assert_snapshot!(parsed(text).join("\n"), @"
        namespace/a (job.yaml, document 1)
        job.yaml, document 2, line 8: did not find expected ',' or ']'
        job.yaml, document 3, line 9: Pod of v1 is no kind that sedge knows (Dataset, EdgeNode, FederatedLearningJob, IncrementalLearningJob, JointInferenceService, Model, Plugin, Worker of sedge.dev/v1alpha1)
        ");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(parsed("kind: Dataset"), ["job.yaml, line 1: apiVersion is missing"]);
        assert_eq!(
            parsed("\n\napiVersion: v1\nkind: Namespace\n"),
            ["job.yaml, line 3: metadata.name is missing"]
        );
        assert_eq!(
            parsed("- 1"),
            [
                "job.yaml, line 1: it is not a resource: a mapping with apiVersion, kind and metadata is needed"
            ]
        );
    }

    #[test]
    fn json_and_lists_are_read_too() {
        let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}]}"#;
        assert_eq!(parsed(text), ["namespace/a (job.yaml)", "namespace/b (job.yaml)"]);
    }
}
