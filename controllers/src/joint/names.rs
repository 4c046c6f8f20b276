//! Names of what a service makes, and the name that clients ask for. Called by `workers`.

use sedge_api::resources::ServingSide;

use crate::federated::ROLE_WORDS;
use crate::jobs::{Job, has_word, worker_name};

/// Words that part the service's name from the rest of a Worker's.
pub(crate) const SIDE_WORDS: [&str; 2] = ["edge", "cloud"];

/// The name of the service's Worker: `SERVICE-cloud`, `SERVICE-edge-NODE`.
///
/// No two (service, side, node) of a namespace share a name, nor does one with a Worker of a job of another kind:
/// where the service's or the node's name has a word that parts names, it gets the hashed form. `edge` and `cloud`
/// are ordinary in the names of nodes, and may begin one: what follows the side's word is the node's name.
pub(crate) fn side_worker(service: &str, side: ServingSide, node: Option<&str>) -> String {
    let foreign = |name: &str| has_word(name, &ROLE_WORDS);
    let ambiguous = has_word(service, &SIDE_WORDS) || foreign(service) || node.is_some_and(foreign);
    worker_name(service, side.word(), node, ambiguous)
}

/// What clients call the service: its name, and `NAMESPACE.NAME` outside the namespace `default`.
pub(super) fn client_name(job: &Job) -> String {
    match job.namespace.as_str() {
        "default" => job.name.clone(),
        namespace => format!("{namespace}.{}", job.name),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use sedge_api::{is_dns_label, is_resource_name};

    use super::*;

    #[test]
    fn names_say_service_side_and_node() {
        assert_eq!(side_worker("digits", ServingSide::Edge, Some("edge-0")), "digits-edge-edge-0");
        assert_eq!(side_worker("digits", ServingSide::Cloud, None), "digits-cloud");
    }

    proptest! {
        #[test]
        fn names_are_valid_and_never_shared(
            services in prop::collection::vec("[a-z0-9]((edge|cloud|-edge-|-trainer-|[a-z.-]){0,12}[a-z0-9])?", 1..8),
            nodes in prop::collection::vec("[a-z0-9]((edge|-edge-|-trainer-|[a-z-]){0,40}[a-z0-9])?", 1..8),
        ) {
            let mut seen = HashMap::new();
            for service in services.iter().filter(|name| is_resource_name(name)) {
                let edges = nodes.iter().filter(|n| is_dns_label(n)).map(|n| (ServingSide::Edge, Some(n.as_str())));
                for (side, node) in edges.chain([(ServingSide::Cloud, None)]) {
                    let name = side_worker(service, side, node);
                    prop_assert!(is_resource_name(&name), "{name}");
                    let triple = (service.clone(), side, node.map(str::to_owned));
                    let first = seen.entry(name).or_insert_with(|| triple.clone());
                    prop_assert_eq!(first, &triple);
                }
            }
        }
    }
}
