//! What a service may set.

use std::collections::{BTreeMap, BTreeSet};

use sedge_sdk::Error;
use serde::Deserialize;

/// What a service may set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Parameters {
    /// The name of the graph that answers.
    pub graph: String,
    /// Names in requests that are not the graph's: `{"image": "x"}` gives the request's `image` to the graph as `x`.
    pub inputs: BTreeMap<String, String>,
    /// Names in answers that are not to be the graph's: `{"probabilities": "scores"}` answers with `scores`.
    pub outputs: BTreeMap<String, String>,
    /// The graph's output, of f32, that has logits: the answer has their softmax along the last dimension.
    pub softmax: Option<String>,
}

/// What requests and answers are told and checked by, if nothing else is said.
const INFER: &str = "infer";

impl Default for Parameters {
    fn default() -> Self {
        Self { graph: INFER.to_owned(), inputs: BTreeMap::new(), outputs: BTreeMap::new(), softmax: None }
    }
}

impl Parameters {
    /// Refuses two tensors of one name.
    pub fn check(&self) -> Result<(), Error> {
        for (field, names) in [("inputs", &self.inputs), ("outputs", &self.outputs)] {
            let mut seen = BTreeSet::new();
            if let Some(twice) = names.values().find(|name| !seen.insert(*name)) {
                return Err(Error::parameter(field, format!("two names become `{twice}`")));
            }
        }
        Ok(())
    }

    /// Whether requests and answers are still those of the graph `infer`.
    pub fn keep_the_signature(&self) -> bool {
        self.graph == INFER && self.inputs.is_empty() && self.outputs.is_empty()
    }
}

/// Gives tensors other names, each at most once: names may change places.
pub fn rename<T>(tensors: &mut [(String, T)], names: &BTreeMap<String, String>) {
    for (name, _) in tensors {
        if let Some(other) = names.get(name) {
            name.clone_from(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(from, to)| (from.to_owned(), to.to_owned())).collect()
    }

    #[test]
    fn names_may_change_places_and_others_stay() {
        let mut tensors = ["a", "b", "c"].map(|name| (name.to_owned(), name));
        rename(&mut tensors, &names(&[("a", "b"), ("b", "a")]));
        assert_eq!(tensors.map(|(name, was)| name + was), ["ba", "ab", "cc"]);
    }

    #[test]
    fn two_tensors_of_one_name_are_refused() {
        let parameters = Parameters { inputs: names(&[("a", "x"), ("b", "x")]), ..Parameters::default() };
        assert!(parameters.check().unwrap_err().to_string().contains("inputs: two names become `x`"));
        assert!(Parameters::default().check().is_ok());
    }

    #[test]
    fn only_the_graph_infer_under_its_own_names_is_told_to_clients() {
        assert!(Parameters::default().keep_the_signature());
        let renamed = Parameters { outputs: names(&[("probabilities", "scores")]), ..Parameters::default() };
        assert!(!renamed.keep_the_signature());
        assert!(!Parameters { graph: "other".to_owned(), ..Parameters::default() }.keep_the_signature());
    }
}
