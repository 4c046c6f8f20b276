//! What is served: the kinds of the definitions given, and a few that Kubernetes itself has.
//!
//! A built-in kind is one line of [`BUILT_IN`]. Everything else asks [`Kinds`] by path or by resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;
use thiserror::Error;

use super::schema::{InvalidSchema, Schema};
use super::view::{self, View};

/// A kind that Kubernetes itself has; here without a schema.
struct BuiltIn {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_name: Option<&'static str>,
    namespaced: bool,
    status: bool,
    /// Fields that a field selector may name, beyond name and namespace.
    selectable: &'static [&'static str],
}

#[rustfmt::skip]
const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { group: "", version: "v1", kind: "Namespace", plural: "namespaces", short_name: Some("ns"), namespaced: false, status: true, selectable: &["status.phase"] },
    BuiltIn { group: "", version: "v1", kind: "Event", plural: "events", short_name: Some("ev"), namespaced: true, status: false, selectable: EVENT_FIELDS },
    BuiltIn { group: "", version: "v1", kind: "Secret", plural: "secrets", short_name: None, namespaced: true, status: false, selectable: &["type"] },
    BuiltIn { group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases", short_name: None, namespaced: true, status: false, selectable: &[] },
];

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// Events are kept up to this many; a cluster drops them after an hour.
const MAX_EVENTS: usize = 1000;

/// The resource of namespaces, which the server itself asks for.
pub const NAMESPACES: &str = "namespaces";

/// Why a definition cannot be served.
#[derive(Debug, Error)]
pub enum InvalidDefinition {
    /// Nothing in it says under which version objects are kept.
    #[error("the definition `{0}` has no version with `storage: true`")]
    NoStorageVersion(String),
    /// Two definitions claim the same path.
    #[error("two definitions serve `{0}`")]
    Duplicate(String),
    /// Its schema is not one that can be checked.
    #[error("the schema of the definition `{definition}`: {source}")]
    Schema {
        /// Name of the definition.
        definition: String,
        /// What is wrong.
        source: InvalidSchema,
    },
}

/// A column that a client prints.
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// Format of the kind.
    pub format: String,
    /// For people.
    pub description: String,
    /// 0 is always shown, more only when asked for wide output.
    pub priority: i32,
    /// Where the cell's value lies.
    pub path: String,
}

/// One kind, served under one version.
#[derive(Debug)]
pub struct Kind {
    /// API group; empty for Kubernetes' core.
    pub group: String,
    /// The version that is served and stored.
    pub version: String,
    /// e.g. `Worker`.
    pub kind: String,
    /// e.g. `WorkerList`.
    pub list_kind: String,
    /// As in paths: `workers`.
    pub plural: String,
    /// For people: `worker`.
    pub singular: String,
    /// What people type: `wk`.
    pub short_names: Vec<String>,
    /// Sets of kinds that it is in.
    pub categories: Vec<String>,
    /// `workers.sedge.dev`: the key of its rows in the store, and what messages call it.
    pub resource: Arc<str>,
    /// Whether its objects lie in namespaces.
    pub namespaced: bool,
    /// Whether `/status` is apart from the rest.
    pub has_status: bool,
    /// Whether it comes from a definition.
    pub custom: bool,
    /// What its objects must look like; absent, anything goes.
    pub schema: Option<Schema>,
    /// Columns that a client prints.
    pub columns: Vec<Column>,
    /// Fields that a field selector may name, beyond name and namespace.
    pub selectable: Vec<String>,
    /// At most about so many objects are kept, and the oldest go first; absent, all are.
    pub at_most: Option<usize>,
    /// Absent where its objects are stored as they are.
    pub view: Option<View>,
}

impl Kind {
    /// `GROUP/VERSION`, as objects have it.
    pub fn api_version(&self) -> String {
        match &self.group[..] {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether this is the kind of namespaces.
    pub fn is_namespace(&self) -> bool {
        &*self.resource == NAMESPACES
    }

    fn built_in(from: &BuiltIn) -> Self {
        Self {
            group: from.group.to_owned(),
            version: from.version.to_owned(),
            kind: from.kind.to_owned(),
            list_kind: format!("{}List", from.kind),
            plural: from.plural.to_owned(),
            singular: from.kind.to_lowercase(),
            short_names: from.short_name.into_iter().map(str::to_owned).collect(),
            categories: Vec::new(),
            resource: resource(from.plural, from.group),
            namespaced: from.namespaced,
            has_status: from.status,
            custom: false,
            schema: None,
            columns: Vec::new(),
            selectable: from.selectable.iter().map(|&field| field.to_owned()).collect(),
            at_most: (from.plural == "events").then_some(MAX_EVENTS),
            view: None,
        }
    }

    fn defined(definition: CustomResourceDefinition) -> Result<Self, InvalidDefinition> {
        let title = definition.metadata.name.unwrap_or_default();
        let spec = definition.spec;
        let version = spec.versions.into_iter().find(|version| version.storage);
        let version = version.ok_or_else(|| InvalidDefinition::NoStorageVersion(title.clone()))?;
        let schema = version.schema.and_then(|s| s.open_api_v3_schema).map(|schema| Schema::compile(&schema));
        let schema = schema.transpose();
        let schema = schema.map_err(|source| InvalidDefinition::Schema { definition: title, source })?;
        let columns = version.additional_printer_columns.unwrap_or_default().into_iter();
        let names = spec.names;
        Ok(Self {
            list_kind: names.list_kind.unwrap_or_else(|| format!("{}List", names.kind)),
            singular: names.singular.unwrap_or_else(|| names.kind.to_lowercase()),
            short_names: names.short_names.unwrap_or_default(),
            categories: names.categories.unwrap_or_default(),
            resource: resource(&names.plural, &spec.group),
            group: spec.group,
            version: version.name,
            kind: names.kind,
            plural: names.plural,
            namespaced: spec.scope == "Namespaced",
            has_status: version.subresources.is_some_and(|s| s.status.is_some()),
            custom: true,
            schema,
            columns: columns
                .map(|column| Column {
                    name: column.name,
                    kind: column.type_,
                    format: column.format.unwrap_or_default(),
                    description: column.description.unwrap_or_default(),
                    priority: column.priority.unwrap_or_default(),
                    path: column.json_path,
                })
                .collect(),
            selectable: version
                .selectable_fields
                .unwrap_or_default()
                .into_iter()
                .map(|field| field.json_path.trim_start_matches('.').to_owned())
                .collect(),
            at_most: None,
            view: None,
        })
    }

    /// Events under their newer name.
    fn newer_events(stored: Arc<Self>) -> Self {
        const SELECTABLE: &[&str] =
            &["regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "reason", "type"];
        let newer = BuiltIn {
            group: "events.k8s.io",
            version: "v1",
            kind: "Event",
            plural: "events",
            short_name: Some("ev"),
            namespaced: true,
            status: false,
            selectable: SELECTABLE,
        };
        Self { view: Some(View { stored, renamed: view::EVENTS }), ..Self::built_in(&newer) }
    }

    /// As legacy discovery lists it, `/status` after it where it has one.
    pub fn discovery(&self) -> Vec<Value> {
        let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        let mut resource = serde_json::json!({
            "name": self.plural, "singularName": self.singular, "namespaced": self.namespaced,
            "kind": self.kind, "verbs": verbs,
        });
        if !self.short_names.is_empty() {
            resource["shortNames"] = self.short_names.clone().into();
        }
        if !self.categories.is_empty() {
            resource["categories"] = self.categories.clone().into();
        }
        let mut list = vec![resource];
        if self.has_status {
            list.push(serde_json::json!({
                "name": format!("{}/status", self.plural), "singularName": "", "namespaced": self.namespaced,
                "kind": self.kind, "verbs": ["get", "patch", "update"],
            }));
        }
        list
    }
}

fn resource(plural: &str, group: &str) -> Arc<str> {
    if group.is_empty() { plural.into() } else { format!("{plural}.{group}").into() }
}

/// All kinds that are served.
#[derive(Debug)]
pub struct Kinds {
    by_resource: BTreeMap<Arc<str>, Arc<Kind>>,
}

impl Kinds {
    /// The built-in kinds and those of `definitions`; of each definition the version that it stores.
    pub fn new(definitions: Vec<CustomResourceDefinition>) -> Result<Self, InvalidDefinition> {
        let mut by_resource: BTreeMap<Arc<str>, Arc<Kind>> = BTreeMap::new();
        let built_in = BUILT_IN.iter().map(|kind| Ok(Kind::built_in(kind)));
        for kind in built_in.chain(definitions.into_iter().map(Kind::defined)) {
            let kind = Arc::new(kind?);
            if let Some(before) = by_resource.insert(kind.resource.clone(), kind) {
                return Err(InvalidDefinition::Duplicate(before.resource.to_string()));
            }
        }
        if let Some(events) = by_resource.get("events") {
            let newer = Kind::newer_events(Arc::clone(events));
            by_resource.insert(newer.resource.clone(), Arc::new(newer));
        }
        Ok(Self { by_resource })
    }

    /// The kind under `/apis/GROUP/VERSION/PLURAL`.
    pub fn at(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_resource(&resource(plural, group)).filter(|kind| kind.version == version)
    }

    /// The kind of a row in the store.
    pub fn by_resource(&self, resource: &str) -> Option<&Arc<Kind>> {
        self.by_resource.get(resource)
    }

    /// The kind of namespaces.
    pub fn namespaces(&self) -> &Arc<Kind> {
        self.by_resource.get(NAMESPACES).expect("Namespace is in BUILT_IN, and none is ever removed")
    }

    /// All of them, by resource.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.by_resource.values()
    }
}
