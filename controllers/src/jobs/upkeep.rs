//! Making one Worker be as it is wanted: what there is of it in, at most one write out. Called by each kind's `decide`.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use sedge_api::resources::Worker;

use super::{Job, phase};

/// A Worker that ended is declared anew after this.
pub(crate) const RESTART_AFTER: Duration = Duration::from_secs(30);
/// A name that another owner's Worker has is looked at again after this.
const TAKEN: Duration = Duration::from_secs(5);

/// What is to be done about a Worker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Upkeep {
    /// It is as it is wanted.
    AsWanted,
    /// Make it.
    Declare(Box<Worker>),
    /// Replace it by this, which differs in its spec.
    Rewrite(Box<Worker>),
    /// Delete it: it has ended, or is on another node, where it is another.
    Delete {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Look again after this.
    Later(Duration),
}

/// What makes `wanted` be, where `present` bears its name.
pub(crate) fn upkeep(job: &Job, wanted: &Worker, present: Option<&Worker>, now: Timestamp) -> Upkeep {
    let Some(present) = present else { return Upkeep::Declare(Box::new(wanted.clone())) };
    if present.metadata.deletion_timestamp.is_some() || !job.owns(present) {
        // It may be of an earlier job of this name whose Workers are still being collected.
        return Upkeep::Later(TAKEN);
    }
    let delete = || Upkeep::Delete { name: present.name_any(), uid: present.uid().unwrap_or_default() };
    let same = present.spec == wanted.spec;
    if phase(present).is_final() {
        let ended = present.status.as_ref().and_then(|status| status.finished_at.as_ref());
        let since = ended.map_or(Timestamp::MIN, |at| at.0);
        let rested = now.duration_since(since).try_into().unwrap_or_default();
        return match RESTART_AFTER.saturating_sub(rested) {
            patience if same && !patience.is_zero() => Upkeep::Later(patience),
            _ => delete(),
        };
    }
    if present.spec.node != wanted.spec.node {
        return delete();
    }
    if same {
        return Upkeep::AsWanted;
    }
    let mut worker = present.clone();
    worker.spec = wanted.spec.clone();
    Upkeep::Rewrite(Box::new(worker))
}
