//! Names of what a job makes: its Workers and its result. Called by `workers` and `decide`.

use sedge_api::ArtifactRef;
use sedge_api::resources::Role;

use crate::jobs;

/// Words that part the job's name from the rest of a Worker's.
pub(crate) const ROLE_WORDS: [&str; 3] = ["aggregator", "trainer", "evaluator"];

/// The name of a job's Worker: `JOB-aggregator`, `JOB-evaluator`, `JOB-trainer-DATASET`.
///
/// No two (job, role, dataset) of a namespace share a name: read from the left, the first role word ends
/// the job's name, as a job whose own name has one between dashes gets the hashed form, and so does
/// what would be too long for a resource.
pub(super) fn worker_name(job: &str, role: Role, dataset: Option<&str>) -> String {
    jobs::worker_name(job, role.word(), dataset, jobs::has_word(job, &ROLE_WORDS))
}

/// What the result of a job is called: `JOB:UIDSHORT`.
pub(super) fn result_reference(job: &str, uid: &str) -> ArtifactRef {
    jobs::model_reference(job, &jobs::model_tag(uid))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use sedge_api::is_resource_name;

    use super::*;

    #[test]
    fn names_say_job_role_and_dataset() {
        assert_eq!(worker_name("digits", Role::Aggregator, None), "digits-aggregator");
        assert_eq!(worker_name("digits", Role::Trainer, Some("edge-3")), "digits-trainer-edge-3");
        assert_eq!(result_reference("digits", "0f3c9a1b-22").to_string(), "digits:0f3c9a1b");
    }

    #[test]
    fn a_job_named_like_a_worker_shares_no_name_with_another() {
        let one = worker_name("a", Role::Trainer, Some("b-trainer-c"));
        let other = worker_name("a-trainer-b", Role::Trainer, Some("c"));
        assert_ne!(one, other);
    }

    proptest! {
        #[test]
        fn names_are_valid_and_never_shared(
            jobs in prop::collection::vec("[a-z0-9]((trainer|aggregator|-trainer-|[a-z.-]){0,12}[a-z0-9])?", 1..8),
            datasets in prop::collection::vec("[a-z0-9]((-trainer-|[a-z.-]){0,80}[a-z0-9])?", 1..8),
        ) {
            let mut seen = HashMap::new();
            for job in jobs.iter().filter(|name| is_resource_name(name)) {
                prop_assert!(is_resource_name(&result_reference(job, "0f3c9a1b").resource_name()));
                let trainers = datasets.iter().filter(|d| is_resource_name(d)).map(|d| (Role::Trainer, Some(d.as_str())));
                for (role, dataset) in trainers.chain([(Role::Aggregator, None), (Role::Evaluator, None)]) {
                    let name = worker_name(job, role, dataset);
                    prop_assert!(is_resource_name(&name), "{name}");
                    let triple = (job.clone(), role, dataset.map(str::to_owned));
                    let first = seen.entry(name).or_insert_with(|| triple.clone());
                    prop_assert_eq!(first, &triple);
                }
            }
        }
    }
}
