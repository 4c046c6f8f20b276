//! A graph with some of its inputs fixed to weights.

use std::sync::Arc;

use super::Weights;
use crate::nn::{DType, Graph, Memory, NnError, Port, Tensor};

/// `graph` with every input that bears a weight's name fixed to that weight.
///
/// Dtypes and shapes are checked here, once. Weights that the graph does not take are left aside (a graph
/// that infers may need fewer than one that trains), but one at least must be taken; where there are none at all,
/// as with models whose graphs have their weights inside, the graph is as it was.
pub fn bind(graph: Arc<dyn Graph>, weights: &Weights, binding: Binding) -> Result<Arc<dyn Graph>, NnError> {
    if weights.tensors().is_empty() {
        return Ok(graph);
    }
    let (mut open, mut fixed) = (Vec::new(), Vec::new());
    for input in graph.inputs() {
        match weights.get(&input.name) {
            None => open.push(input.clone()),
            Some(tensor) => {
                input.check(tensor, |declared, given| graph.accepts(declared, given))?;
                fixed.push((input.name.clone(), tensor.clone()));
            }
        }
    }
    if fixed.is_empty() {
        return Err(NnError::invalid("the graph takes none of the weights: no input bears the name of one"));
    }
    if binding == Binding::Frozen {
        match graph.frozen(&fixed) {
            Ok(graph) => return Ok(graph),
            Err(error) => {
                tracing::warn!(%error, "weights are bound at each call, for they could not be frozen into the graph");
            }
        }
    }
    Ok(Arc::new(Bound { graph, open, fixed }))
}

/// How weights are bound to a graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Binding {
    /// They go in with every call: for weights that are soon others, as those that train or are evaluated.
    #[default]
    AtCall,
    /// They become constants of the graph, which the engine loads anew and packs: for weights that answer many
    /// calls, as an inferencer's. Where that fails, as [`Self::AtCall`].
    Frozen,
}

struct Bound {
    graph: Arc<dyn Graph>,
    open: Vec<Port>,
    fixed: Vec<(String, Tensor)>,
}

impl Graph for Bound {
    fn inputs(&self) -> &[Port] {
        &self.open
    }

    fn outputs(&self) -> &[Port] {
        self.graph.outputs()
    }

    fn accepts(&self, declared: DType, given: DType) -> bool {
        self.graph.accepts(declared, given)
    }

    fn memory<'a>(
        &'a self,
        inputs: &mut dyn Iterator<Item = (&'a str, &'a Tensor)>,
    ) -> Result<Memory, NnError> {
        let fixed = self.fixed.iter().map(|(name, tensor)| (name.as_str(), tensor));
        self.graph.memory(&mut inputs.chain(fixed))
    }

    fn compute(&self, mut inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
        let is_fixed = |name: &str| self.fixed.iter().any(|(fixed, _)| fixed == name);
        if let Some((name, _)) = inputs.iter().find(|(name, _)| is_fixed(name)) {
            return Err(NnError::invalid(format!(
                "input \"{name}\" is fixed to a weight that the graph is bound to"
            )));
        }
        inputs.extend(self.fixed.iter().cloned());
        self.graph.compute(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Graphs;

    fn lerp() -> Arc<dyn Graph> {
        Graphs::new(1).builtin("sedge:lerp").unwrap()
    }

    fn named(tensors: &[(&str, &[f32])]) -> Vec<(String, Tensor)> {
        let tensor = |values: &[f32]| Tensor::from_vec(&[values.len()], values.to_vec()).unwrap();
        tensors.iter().map(|(name, values)| ((*name).to_owned(), tensor(values))).collect()
    }

    #[test]
    fn a_bound_graph_takes_the_rest_and_leaves_the_weights_as_they_are() {
        let weights = Weights::new(named(&[("y", &[1.0, 2.0]), ("elsewhere", &[0.0])])).unwrap();
        let bound = bind(lerp(), &weights, Binding::AtCall).unwrap();
        let names: Vec<_> = bound.inputs().iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names, ["x", "t"]);

        for _ in 0..2 {
            let outputs = bound.compute(named(&[("t", &[0.5]), ("x", &[3.0, 4.0])])).unwrap();
            assert_eq!(outputs[0].1.as_slice::<f32>().unwrap(), [2.0, 3.0]);
        }
        assert_eq!(weights.get("y").unwrap().as_slice::<f32>().unwrap(), [1.0, 2.0]);
    }

    #[test]
    fn what_cannot_be_bound_or_given_is_named() {
        let weights = |tensors| Weights::new(tensors).unwrap();
        let bound = bind(lerp(), &weights(named(&[("y", &[1.0])])), Binding::AtCall).unwrap();
        let error = bound.compute(named(&[("x", &[1.0]), ("t", &[0.5]), ("y", &[1.0])])).unwrap_err();
        assert_eq!(error.message, "input \"y\" is fixed to a weight that the graph is bound to");
        let error = bound.compute(named(&[("x", &[1.0])])).unwrap_err();
        assert_eq!(error.message, "missing input \"t\"");

        let refused = |tensors| bind(lerp(), &weights(tensors), Binding::AtCall).err().unwrap().message;
        assert_eq!(
            refused(named(&[("elsewhere", &[1.0])])),
            "the graph takes none of the weights: no input bears the name of one"
        );
        let integers = vec![("t".to_owned(), Tensor::from_vec(&[1], vec![1i32]).unwrap())];
        assert_eq!(refused(integers), "input \"t\": expected f32 of any shape, got i32[1]");
    }
}
