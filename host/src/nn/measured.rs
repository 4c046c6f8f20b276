//! A loaded graph that knows, before it computes, the memory that a compute takes; and that can be had again with
//! weights frozen into it.
//!
//! [`Graphs`](super::Graphs) wraps every engine's graphs in it. The bound comes from [`sedge_onnx::Outline`] and
//! is kept for the latest shapes: asking for it again costs a comparison.

use std::sync::Arc;

use parking_lot::Mutex;
use sedge_onnx::{Bound, ElementType, Given, MAX_DECIDING, Outline};

use super::dtype::DType;
use super::error::NnError;
use super::freezer::Freezer;
use super::graph::{Graph, Memory, Port};
use super::interrupt;
use super::tensor::Tensor;

/// Bounds that are kept per graph: of the last shapes that were asked for.
const KEPT: usize = 16;

/// Elements of floating point that are looked at: scales are few, and states that change with every call are not.
const MAX_DECIDING_FLOATS: usize = 16;

type Known = Result<Memory, Arc<str>>;

/// A graph with its memory.
pub(super) struct Measured {
    graph: Arc<dyn Graph>,
    outline: Arc<Outline>,
    /// Of each input: whether its elements decide how large other values are.
    deciding: Vec<bool>,
    threads: usize,
    /// Whether the engine keeps to a bound of its own where there is no other.
    bounded: bool,
    /// Shapes, and what they come to, or why that cannot be told; the latest first.
    kept: Mutex<Vec<(Vec<u64>, Known)>>,
    freezer: Option<Freezer>,
}

impl Measured {
    pub fn new(
        graph: Arc<dyn Graph>,
        outline: Arc<Outline>,
        threads: usize,
        bounded: bool,
        freezer: Option<Freezer>,
    ) -> Self {
        let names = outline.deciding();
        let deciding = graph.inputs().iter().map(|port| names.contains(&port.name.as_str())).collect();
        Self { graph, outline, deciding, threads, bounded, kept: Mutex::default(), freezer }
    }

    fn bound(&self, inputs: &[(usize, &Tensor)]) -> Known {
        let key = self.key(inputs);
        let mut kept = self.kept.lock();
        if let Some(at) = kept.iter().position(|(shapes, _)| *shapes == key) {
            kept[..=at].rotate_right(1);
            return kept[0].1.clone();
        }
        drop(kept);
        let ports = self.graph.inputs();
        let given: Vec<_> = inputs
            .iter()
            .map(|&(at, tensor)| Given {
                name: &ports[at].name,
                element: element(tensor.dtype()),
                shape: tensor.shape(),
                elements: self.elements(at, tensor),
            })
            .collect();
        let bound = match self.outline.bound(&given, self.threads) {
            Bound::Bytes { bytes, largest } => {
                Ok(Memory { bytes, largest: (!largest.is_empty()).then(|| largest.into()) })
            }
            Bound::Unknown { why } => Err(why.into()),
        };
        let mut kept = self.kept.lock();
        kept.truncate(KEPT - 1);
        kept.insert(0, (key, bound.clone()));
        bound
    }

    /// Everything that the bound depends on.
    fn key(&self, inputs: &[(usize, &Tensor)]) -> Vec<u64> {
        let mut key = Vec::with_capacity(inputs.len() * 6);
        for &(at, tensor) in inputs {
            // Which input, its type and rank: each far below its share of the bits.
            key.push((at as u64) << 16 | (tensor.dtype() as u64) << 8 | tensor.shape().len() as u64);
            key.extend(tensor.shape().iter().map(|&size| size as u64));
            if let Some(elements) = self.elements(at, tensor) {
                key.extend(elements.into_iter().map(f64::to_bits));
            }
        }
        key
    }

    fn elements(&self, at: usize, tensor: &Tensor) -> Option<Vec<f64>> {
        if !self.deciding[at] || tensor.len() > MAX_DECIDING {
            return None;
        }
        match tensor.dtype() {
            DType::I64 => Some(tensor.as_slice::<i64>().ok()?.iter().map(|&value| value as f64).collect()),
            DType::I32 => Some(tensor.as_slice::<i32>().ok()?.iter().map(|&value| value.into()).collect()),
            DType::U8 => Some(tensor.as_slice::<u8>().ok()?.iter().map(|&value| value.into()).collect()),
            DType::F32 if tensor.len() <= MAX_DECIDING_FLOATS => {
                Some(tensor.as_slice::<f32>().ok()?.iter().map(|&value| value.into()).collect())
            }
            _ => None,
        }
    }
}

impl Graph for Measured {
    fn inputs(&self) -> &[Port] {
        self.graph.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.graph.outputs()
    }

    fn accepts(&self, declared: DType, given: DType) -> bool {
        self.graph.accepts(declared, given)
    }

    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
        interrupt::check()?;
        self.graph.compute(inputs)
    }

    fn memory<'a>(
        &'a self,
        inputs: &mut dyn Iterator<Item = (&'a str, &'a Tensor)>,
    ) -> Result<Memory, NnError> {
        let ports = self.graph.inputs();
        let mut given = Vec::with_capacity(ports.len());
        for (index, (name, tensor)) in inputs.enumerate() {
            let in_order = ports.get(index).is_some_and(|port| port.name == name).then_some(index);
            let at = in_order.or_else(|| ports.iter().position(|port| port.name == name));
            let fits = |at: &usize| ports[*at].check(tensor, |d, g| self.graph.accepts(d, g)).is_ok();
            // What does not fit is refused by the compute, in better words and before anything is allocated.
            let Some(at) = at.filter(fits) else { return Ok(Memory::default()) };
            given.push((at, tensor));
        }
        if given.len() != ports.len() {
            return Ok(Memory::default());
        }
        match self.bound(&given) {
            Ok(memory) => Ok(memory),
            Err(_) if self.bounded => Ok(Memory::default()),
            Err(why) => Err(unknown(&why)),
        }
    }

    fn frozen(&self, weights: &[(String, Tensor)]) -> Result<Arc<dyn Graph>, NnError> {
        match &self.freezer {
            Some(freezer) => freezer.freeze(weights),
            None => Err(NnError::unsupported("weights were frozen into the graph already")),
        }
    }
}

/// A graph whose memory cannot be told is not computed where nothing else bounds it.
pub(super) fn unknown(why: &str) -> NnError {
    NnError::unsupported(format!(
        "the memory that the graph takes cannot be told beforehand, and this engine does not bound it: {why}. Give \
         the node ONNX Runtime (`cargo xtask setup --engine onnxruntime`), which does, or export the graph with \
         fixed shapes"
    ))
}

pub(super) const fn element(dtype: DType) -> ElementType {
    match dtype {
        DType::F16 => ElementType::F16,
        DType::F32 => ElementType::F32,
        DType::F64 => ElementType::F64,
        DType::BF16 => ElementType::Bf16,
        DType::U8 => ElementType::U8,
        DType::I32 => ElementType::I32,
        DType::I64 => ElementType::I64,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sedge_api::Digest;

    use crate::nn::{ErrorCode, Graph, GraphOptions, Graphs, Port, Tensor};

    const INFER: &[u8] = include_bytes!("../../../tests/data/digits-mlp/infer.onnx");

    fn infer() -> std::sync::Arc<dyn Graph> {
        let load = || Ok(Bytes::from_static(INFER));
        Graphs::new(1).load(&Digest::of(INFER), &GraphOptions::default(), load).unwrap().graph
    }

    /// Zeros for every input, of `batch` samples.
    fn inputs(graph: &dyn Graph, batch: usize) -> Vec<(String, Tensor)> {
        let zeros = |shape: Vec<usize>| Tensor::from_vec(&shape, vec![0f32; shape.iter().product()]).unwrap();
        let sizes = |port: &Port| port.shape.iter().flatten().map(|size| size.unwrap_or(batch)).collect();
        graph.inputs().iter().map(|port| (port.name.clone(), zeros(sizes(port)))).collect()
    }

    fn bound(graph: &dyn Graph, inputs: &[(String, Tensor)]) -> u64 {
        graph.memory(&mut inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap().bytes
    }

    #[test]
    fn a_bound_is_that_of_the_shapes_given() {
        let graph = infer();
        let bounds: Vec<u64> = (1..40).map(|batch| bound(&*graph, &inputs(&*graph, batch))).collect();
        assert!(bounds.is_sorted() && bounds[0] > 0 && bounds[38] > bounds[0], "{bounds:?}");
        // Those that are still kept and those that were put out by later ones.
        for (batch, &before) in (1..40).zip(&bounds).rev() {
            assert_eq!(bound(&*graph, &inputs(&*graph, batch)), before);
        }
    }

    #[test]
    fn inputs_that_do_not_fit_are_the_computes_to_refuse() {
        let graph = infer();
        let mut wrong = inputs(&*graph, 1);
        wrong[0].1 = Tensor::from_vec(&[2], vec![0f32; 2]).unwrap();
        assert_eq!(bound(&*graph, &wrong), 0);
        assert_eq!(graph.compute(wrong).unwrap_err().code, ErrorCode::InvalidArgument);
    }
}
