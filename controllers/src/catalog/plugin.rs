//! A Plugin's part of the catalogue.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use sedge_api::artifact::plugin_repository;
use sedge_api::resources::{Plugin, PluginStatus};
use sedge_api::{ArtifactRef, Digest};

use super::decide::{Catalogued, Inspected};
use crate::registry::{PluginError, PluginFacts, Registry, RegistryError};

impl Catalogued for Plugin {
    const WORD: &'static str = "plugin";
    type Facts = PluginFacts;

    fn reference(&self) -> &ArtifactRef {
        &self.spec.reference
    }

    fn named(&self) -> Option<Digest> {
        self.spec.digest
    }

    fn pinned(&self) -> Option<Digest> {
        self.status.as_ref()?.digest
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn repository(&self) -> String {
        plugin_repository(self.spec.reference.name())
    }

    fn facts(&self, registry: &Registry, digest: &Digest) -> Result<Inspected<PluginFacts>, RegistryError> {
        match registry.plugin(self.spec.reference.name(), digest) {
            Ok(Some(facts)) => Ok(Inspected::Valid(facts)),
            Ok(None) => Ok(Inspected::Missing),
            Err(PluginError::Registry(error)) => Err(error),
            Err(error) => Ok(Inspected::Invalid(error.to_string())),
        }
    }

    fn with_status(
        &self,
        conditions: Vec<Condition>,
        digest: Option<Digest>,
        facts: Option<PluginFacts>,
    ) -> Self {
        let bytes = facts.as_ref().map(|facts| facts.bytes);
        let (roles, imports) = facts.map(|f| (f.summary.roles, f.summary.imports)).unwrap_or_default();
        Self { status: Some(PluginStatus { conditions, digest, roles, bytes, imports }), ..self.clone() }
    }
}
