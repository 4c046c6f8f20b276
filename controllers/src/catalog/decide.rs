//! What a resource's status should be, given what the registry has. [`look`] reads, [`decide`] is pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use sedge_api::resources::{condition, is_true, set_condition};
use sedge_api::{ArtifactRef, Digest};

use crate::registry::{Registry, RegistryError};

const READY: &str = "Ready";

/// What Plugin and Model have in common.
pub(super) trait Catalogued: Resource<DynamicType = ()> + Clone {
    /// For people: `plugin`, `model`.
    const WORD: &'static str;
    /// What the registry knows of an artifact.
    type Facts: Send + 'static;

    fn reference(&self) -> &ArtifactRef;
    /// The digest in its spec.
    fn named(&self) -> Option<Digest>;
    /// The digest in its status.
    fn pinned(&self) -> Option<Digest>;
    fn conditions(&self) -> &[Condition];
    fn repository(&self) -> String;
    /// Look into the artifact. Blocks.
    fn facts(&self, registry: &Registry, digest: &Digest) -> Result<Inspected<Self::Facts>, RegistryError>;
    /// The same resource with that status.
    fn with_status(
        &self,
        conditions: Vec<Condition>,
        digest: Option<Digest>,
        facts: Option<Self::Facts>,
    ) -> Self;
}

/// An artifact, looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inspected<F> {
    Missing,
    Invalid(String),
    Valid(F),
}

/// Which manifest a resource is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// Its spec says so.
    Named(Digest),
    /// Its tag was resolved to that before, for the spec as it is now.
    Pinned(Digest),
    /// Whatever the tag points at.
    Tagged,
}

/// What a look into the registry brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Looked<F> {
    /// The artifact that the status tells of is there: the status stands.
    AsBefore,
    /// All there is to say of what was sought; the digest where a tag resolved.
    Anew(Sought, Option<Digest>, Inspected<F>),
}

/// Look for the resource's artifact. Blocks.
pub(super) fn look<K: Catalogued>(
    resource: &K,
    registry: &Registry,
) -> Result<Looked<K::Facts>, RegistryError> {
    let sought = sought(resource);
    let repository = resource.repository();
    let digest = match sought {
        Sought::Named(digest) | Sought::Pinned(digest) => Some(digest),
        Sought::Tagged => registry.resolve(&repository, resource.reference().tag())?,
    };
    let Some(digest) = digest else { return Ok(Looked::Anew(sought, None, Inspected::Missing)) };
    // An artifact never changes: once found well formed, it only has to be there still.
    let stands = is_observed(resource)
        && is_true(resource.conditions(), READY)
        && resource.pinned() == Some(digest)
        && registry.manifest(&repository, &digest)?.is_some();
    if stands {
        return Ok(Looked::AsBefore);
    }
    Ok(Looked::Anew(sought, Some(digest), resource.facts(registry, &digest)?))
}

/// The resource as it should be.
pub(super) fn decide<K: Catalogued>(resource: &K, looked: Looked<K::Facts>, now: Timestamp) -> K {
    let Looked::Anew(sought, digest, inspected) = looked else { return resource.clone() };
    let (word, reference) = (K::WORD, resource.reference());
    let missing = || match sought {
        Sought::Named(digest) => format!(
            "the registry has no {word} `{}` with digest {digest}: push it, or take the digest out of the spec",
            reference.name()
        ),
        Sought::Pinned(digest) => format!(
            "the registry no longer has {digest}, which this was pinned to: push the same again, or change the \
             spec to look `{reference}` up anew"
        ),
        Sought::Tagged => {
            format!("the registry has no {word} `{reference}` yet: `sedge {word} push` brings it there")
        }
    };
    let pin = match sought {
        Sought::Pinned(digest) => Some(digest),
        Sought::Named(_) | Sought::Tagged => None,
    };
    let (digest, facts, reason, message) = match inspected {
        Inspected::Valid(facts) => {
            let message =
                digest.map_or_else(String::new, |digest| format!("it is in the registry as {digest}"));
            (digest, Some(facts), "Found", message)
        }
        Inspected::Missing => (pin, None, "NotFound", missing()),
        Inspected::Invalid(why) => (pin, None, "Invalid", why),
    };
    let mut conditions = resource.conditions().to_vec();
    let generation = resource.meta().generation;
    let ready = condition(READY, facts.is_some(), reason, message, generation, now);
    set_condition(&mut conditions, ready);
    resource.with_status(conditions, digest, facts)
}

fn sought<K: Catalogued>(resource: &K) -> Sought {
    match (resource.named(), resource.pinned()) {
        (Some(digest), _) => Sought::Named(digest),
        (None, Some(digest)) if is_observed(resource) => Sought::Pinned(digest),
        (None, _) => Sought::Tagged,
    }
}

/// Whether the status speaks of the spec as it is now.
fn is_observed<K: Catalogued>(resource: &K) -> bool {
    resource
        .conditions()
        .iter()
        .any(|c| c.type_ == READY && c.observed_generation == resource.meta().generation)
}
