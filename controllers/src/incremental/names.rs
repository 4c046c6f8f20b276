//! Names of what a job makes: its Workers and its versions. Called by `workers` and `service`.

use sedge_api::ArtifactRef;

use crate::federated::ROLE_WORDS;
use crate::jobs::{Job, has_word, model_reference, model_tag, worker_name};
use crate::joint::SIDE_WORDS;

/// Words that part the job's name from nothing: they end a Worker's.
const PARTS: [&str; 2] = ["learner", "assessor"];

/// The Worker that leads the rounds: `JOB-learner`.
pub(super) fn learner(job: &Job) -> String {
    named(&job.name, PARTS[0])
}

/// The Worker that measures on another node: `JOB-assessor`.
pub(super) fn assessor(job: &Job) -> String {
    named(&job.name, PARTS[1])
}

/// No two Workers of a namespace share a name: a plain name has none of the words that every plain name of a Worker of
/// another kind of job has; where the job's own has one, it gets the hashed form.
fn named(job: &str, part: &str) -> String {
    let taken = [ROLE_WORDS.as_slice(), SIDE_WORDS.as_slice(), PARTS.as_slice()].concat();
    worker_name(job, part, None, has_word(job, &taken))
}

/// What the tags of a job's versions begin with: `UIDSHORT-v`, and the number follows.
pub(super) fn tag_prefix(job: &Job) -> String {
    format!("{}-v", model_tag(&job.uid))
}

/// What the version of that number is called.
pub(super) fn version(job: &Job, number: u32) -> ArtifactRef {
    model_reference(&job.name, &format!("{}{number}", tag_prefix(job)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use sedge_api::is_resource_name;
    use sedge_api::resources::ServingSide;

    use super::*;
    use crate::joint::side_worker;

    #[test]
    fn names_say_job_and_part() {
        assert_eq!(
            (named("digits", "learner"), named("digits", "assessor")),
            ("digits-learner".into(), "digits-assessor".into())
        );
        assert_ne!(named("a-edge", "learner"), side_worker("a", ServingSide::Edge, Some("learner")));
    }

    proptest! {
        #[test]
        fn names_are_valid_and_never_shared(
            jobs in prop::collection::vec("[a-z0-9]((learner|edge|-learner|-edge-|[a-z.-]){0,12}[a-z0-9])?", 1..8),
            nodes in prop::collection::vec("[a-z0-9]((learner|-assessor|[a-z-]){0,20}[a-z0-9])?", 1..8),
        ) {
            let mut seen = HashMap::new();
            for job in jobs.iter().filter(|name| is_resource_name(name)) {
                let own = PARTS.map(|part| (named(job, part), format!("{job} {part}")));
                let edges = nodes.iter().map(|n| (side_worker(job, ServingSide::Edge, Some(n)), format!("{job} edge {n}")));
                for (name, what) in own.into_iter().chain(edges) {
                    let first = seen.entry(name.clone()).or_insert_with(|| what.clone());
                    prop_assert_eq!(first, &what);
                    prop_assert!(is_resource_name(&name), "{name}");
                }
            }
        }
    }
}
