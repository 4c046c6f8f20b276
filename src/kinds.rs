//! The kinds of resources that the command line knows: Sedge's own, from their definitions, and the few of
//! Kubernetes that the embedded server has.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, GroupVersionKind};

use crate::failure::Failure;
use crate::jsonpath::JsonPath;

/// One kind of resource.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Whether its resources lie in namespaces.
    pub namespaced: bool,
    /// What a table shows beside the name.
    pub columns: Vec<Column>,
    singular: String,
    short: Vec<String>,
    /// Whether it is one of Sedge's.
    own: bool,
}

/// One column of a kind's table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Where its value is.
    pub path: JsonPath,
    /// How its value is meant.
    pub content: Content,
    /// Whether it is shown with `-o wide` only.
    pub wide: bool,
}

/// How a column's value is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// As it is.
    Text,
    /// A whole number or one with a fraction.
    Number,
    /// An amount of bytes.
    Bytes,
    /// A time, shown as how long ago it was.
    Age,
}

impl Kind {
    /// Every kind that the command line knows.
    pub fn all() -> Vec<Self> {
        let own = sedge_api::resources::definitions();
        let mut kinds: Vec<Self> = own.iter().map(Self::of_definition).collect();
        kinds.extend([
            built_in("", "v1", "Namespace", "namespaces", &["ns"], false, &[("Status", ".status.phase")]),
            built_in("", "v1", "ConfigMap", "configmaps", &["cm"], true, &[]),
            built_in("", "v1", "Secret", "secrets", &[], true, &[("Type", ".type")]),
            built_in(
                "",
                "v1",
                "Event",
                "events",
                &["ev"],
                true,
                &[
                    ("Type", ".type"),
                    ("Reason", ".reason"),
                    ("Object", ".involvedObject.name"),
                    ("Message", ".message"),
                ],
            ),
            built_in(
                "coordination.k8s.io",
                "v1",
                "Lease",
                "leases",
                &[],
                true,
                &[("Holder", ".spec.holderIdentity")],
            ),
        ]);
        kinds
    }

    /// The kinds that a person means by `word`: plural, singular, short name or kind in any case, with
    /// or without the group; `all` for Sedge's kinds, `jobs` for the kinds of job.
    pub fn named(word: &str) -> Result<Vec<Self>, Failure> {
        let word = word.to_lowercase();
        let all = Self::all();
        let known = |kind: &&Self| {
            let job = kind.resource.kind.ends_with("Job") || kind.resource.kind.ends_with("Service");
            match word.as_str() {
                "all" | "sedge" => kind.own,
                "job" | "jobs" => kind.own && job,
                "node" | "nodes" => kind.resource.kind == "EdgeNode",
                other => kind.answers_to(other),
            }
        };
        let found: Vec<Self> = all.iter().filter(known).cloned().collect();
        if found.is_empty() {
            let names: Vec<&str> = all.iter().map(|kind| kind.resource.plural.as_str()).collect();
            return Err(Failure::new(format!("there is no kind of resource called `{word}`"))
                .hint(format!("known are {}, and `jobs` and `all`", names.join(", "))));
        }
        Ok(found)
    }

    /// The kind of a document with this `apiVersion` and `kind`.
    pub fn of_document(api_version: &str, kind: &str) -> Option<Self> {
        Self::all().into_iter().find(|k| k.resource.api_version == api_version && k.resource.kind == kind)
    }

    /// `plugin.sedge.dev`, as kubectl names what it has done something to.
    pub fn qualified(&self) -> String {
        match self.resource.group.as_str() {
            "" => self.singular.clone(),
            group => format!("{}.{group}", self.singular),
        }
    }

    /// What one of it is called.
    pub fn singular(&self) -> &str {
        &self.singular
    }

    fn answers_to(&self, word: &str) -> bool {
        let bare = word.strip_suffix(&format!(".{}", self.resource.group)).unwrap_or(word);
        bare == self.resource.plural || bare == self.singular || self.short.iter().any(|short| short == bare)
    }

    fn of_definition(definition: &CustomResourceDefinition) -> Self {
        let (spec, names) = (&definition.spec, &definition.spec.names);
        let version = spec.versions.iter().find(|v| v.storage).unwrap_or(&spec.versions[0]);
        let gvk = GroupVersionKind::gvk(&spec.group, &version.name, &names.kind);
        let columns = version.additional_printer_columns.iter().flatten().filter_map(|column| {
            let bytes = column.name == "Bytes";
            Some(Column {
                name: if bytes { "Size".to_owned() } else { column.name.clone() },
                path: column.json_path.parse().ok()?,
                content: match column.type_.as_str() {
                    "date" => Content::Age,
                    "integer" if bytes => Content::Bytes,
                    "integer" | "number" => Content::Number,
                    _ => Content::Text,
                },
                wide: column.priority.is_some_and(|priority| priority > 0),
            })
        });
        Self {
            resource: ApiResource::from_gvk_with_plural(&gvk, &names.plural),
            namespaced: spec.scope == "Namespaced",
            columns: columns.collect(),
            singular: names.singular.clone().unwrap_or_else(|| names.kind.to_lowercase()),
            short: names.short_names.clone().unwrap_or_default(),
            own: true,
        }
    }
}

fn built_in(
    group: &str,
    version: &str,
    kind: &str,
    plural: &str,
    short: &[&str],
    namespaced: bool,
    columns: &[(&str, &str)],
) -> Kind {
    let column = |name: &str, path: &str, content| {
        Some(Column { name: name.to_owned(), path: path.parse().ok()?, content, wide: false })
    };
    let age = column("Age", ".metadata.creationTimestamp", Content::Age);
    Kind {
        resource: ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural),
        namespaced,
        columns: columns
            .iter()
            .filter_map(|(name, path)| column(name, path, Content::Text))
            .chain(age)
            .collect(),
        singular: kind.to_lowercase(),
        short: short.iter().map(|&s| s.to_owned()).collect(),
        own: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_answers_to_all_its_names() {
        for (word, kind) in [
            ("federatedlearningjobs", "FederatedLearningJob"),
            ("FederatedLearningJob", "FederatedLearningJob"),
            ("flj", "FederatedLearningJob"),
            ("jobs", "FederatedLearningJob"),
            ("jis", "JointInferenceService"),
            ("ilj", "IncrementalLearningJob"),
            ("flj.sedge.dev", "FederatedLearningJob"),
            ("wk", "Worker"),
            ("nodes", "EdgeNode"),
            ("en", "EdgeNode"),
            ("ns", "Namespace"),
            ("Events", "Event"),
        ] {
            assert_eq!(Kind::named(word).unwrap()[0].resource.kind, kind, "{word}");
        }
    }

    #[test]
    fn all_means_our_own_kinds() {
        let kinds: Vec<String> = Kind::named("all").unwrap().into_iter().map(|k| k.resource.kind).collect();
        let own = [
            "Dataset",
            "EdgeNode",
            "FederatedLearningJob",
            "IncrementalLearningJob",
            "JointInferenceService",
            "Model",
            "Plugin",
            "Worker",
        ];
        assert_eq!(kinds, own);
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known() {
        let error = Kind::named("pods").unwrap_err();
        assert_eq!(error.to_string(), "there is no kind of resource called `pods`");
    }
}
