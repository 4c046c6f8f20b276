//! A Model's part of the catalogue.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use sedge_api::artifact::model_repository;
use sedge_api::resources::{Model, ModelStatus};
use sedge_api::{ArtifactRef, Digest};

use super::decide::{Catalogued, Inspected};
use crate::registry::{ModelError, ModelFacts, Registry, RegistryError};

impl Catalogued for Model {
    const WORD: &'static str = "model";
    type Facts = ModelFacts;

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
        model_repository(self.spec.reference.name())
    }

    fn facts(&self, registry: &Registry, digest: &Digest) -> Result<Inspected<ModelFacts>, RegistryError> {
        match registry.model(self.spec.reference.name(), digest) {
            Ok(Some(facts)) => Ok(Inspected::Valid(facts)),
            Ok(None) => Ok(Inspected::Missing),
            Err(ModelError::Registry(error)) => Err(error),
            Err(error) => Ok(Inspected::Invalid(error.to_string())),
        }
    }

    fn with_status(
        &self,
        conditions: Vec<Condition>,
        digest: Option<Digest>,
        facts: Option<ModelFacts>,
    ) -> Self {
        let (parameters, weights_bytes) =
            facts.as_ref().map(|f| (f.parameters, f.weights_bytes)).unwrap_or_default();
        let graphs = facts.map(|facts| facts.graphs).unwrap_or_default();
        // What its workers say of these contents is not the registry's to change.
        let before = self.status.clone().filter(|status| status.digest == digest);
        let ModelStatus { engine, engines, .. } = before.unwrap_or_default();
        let status = ModelStatus { conditions, digest, graphs, parameters, weights_bytes, engine, engines };
        Self { status: Some(status), ..self.clone() }
    }
}
