//! What an engine is, and the check of inputs that is the same for all of them.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::dtype::DType;
use super::error::NnError;
use super::options::GraphOptions;
use super::tensor::{Tensor, describe};

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// As the graph calls it.
    pub name: String,
    /// None: any type.
    pub dtype: Option<DType>,
    /// None: any number of dimensions; None of a dimension: any size.
    pub shape: Option<Vec<Option<usize>>>,
}

impl Port {
    /// Whether `tensor` may be given for this input. `accepts(declared, given)` says which other dtypes the
    /// engine converts from.
    pub fn check(&self, tensor: &Tensor, accepts: impl Fn(DType, DType) -> bool) -> Result<(), NnError> {
        let dtype_fits = self.dtype.is_none_or(|dtype| {
            let given = tensor.dtype();
            dtype == given || accepts(dtype, given)
        });
        let shape_fits = self.shape.as_ref().is_none_or(|shape| {
            shape.len() == tensor.shape().len()
                && shape.iter().zip(tensor.shape()).all(|(any, &given)| any.is_none_or(|dim| dim == given))
        });
        if dtype_fits && shape_fits {
            return Ok(());
        }
        let given = describe(tensor.dtype(), tensor.shape());
        Err(NnError::invalid(format!("input \"{}\": expected {}, got {given}", self.name, self.describe())))
    }

    /// `f32[?, 64]`: a question mark stands for any size.
    pub fn describe(&self) -> String {
        let mut text = self.dtype.map_or_else(|| "any type".to_owned(), |dtype| dtype.to_string());
        match &self.shape {
            None => text.push_str(" of any shape"),
            Some(shape) => {
                text.push('[');
                for (index, dim) in shape.iter().enumerate() {
                    text.push_str(if index == 0 { "" } else { ", " });
                    match dim {
                        Some(dim) => write!(text, "{dim}").expect("writing to a String cannot fail"),
                        None => text.push('?'),
                    }
                }
                text.push(']');
            }
        }
        text
    }
}

/// Memory that a compute takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// At most, at one time.
    pub bytes: u64,
    /// The largest single value in it: which node makes it, its shape and bytes.
    pub largest: Option<Arc<str>>,
}

/// A loaded graph.
pub trait Graph: Send + Sync {
    /// Inputs it needs.
    fn inputs(&self) -> &[Port];
    /// Outputs it gives.
    fn outputs(&self) -> &[Port];
    /// Consumes its inputs; blocking; call it off the async executor.
    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError>;
    /// The memory that a compute with these inputs takes beside them, told before it begins; nothing for inputs
    /// that do not fit. An error where it cannot be told and the engine has no bound of its own.
    fn memory<'a>(
        &'a self,
        inputs: &mut dyn Iterator<Item = (&'a str, &'a Tensor)>,
    ) -> Result<Memory, NnError> {
        let _ = inputs;
        Ok(Memory::default())
    }
    /// The graph with those inputs fixed for good, so that the engine can fold and pack them: loaded once and
    /// shared. Blocking, and as slow as loading a graph.
    fn frozen(&self, weights: &[(String, Tensor)]) -> Result<Arc<dyn Graph>, NnError> {
        let _ = weights;
        Err(NnError::unsupported("the graph cannot be frozen"))
    }
    /// Whether an input declared of one dtype may be given in another, which the engine converts.
    fn accepts(&self, declared: DType, given: DType) -> bool {
        declared == given
    }
}

/// Loads graphs.
pub trait Engine: Send + Sync {
    /// e.g. `rten`.
    fn name(&self) -> &'static str;
    /// Whether all memory that it takes for computing is within a maximum, beyond which a compute is an error
    /// and not the end of the process.
    fn bounds_its_memory(&self) -> bool {
        false
    }
    /// Of the library that computes, e.g. `1.32.0`.
    fn version(&self) -> &str;
    /// From an ONNX file's bytes. Of `options`, the engine's name is not looked at; what the engine cannot do
    /// of the rest is `UnsupportedOperation`.
    fn load(&self, onnx: Bytes, options: &GraphOptions) -> Result<Arc<dyn Graph>, NnError>;
    /// Runs `work`, which computes many times, on a thread from which it does so with the least ado.
    fn attend<'a>(&self, work: Box<dyn FnOnce() + Send + 'a>) {
        work();
    }
}

/// `inputs` in the order of the graph's, each of them once and of the right dtype and shape.
///
/// Every implementation of [`Graph::compute`] begins with this.
pub fn check_inputs(
    graph: &(impl Graph + ?Sized),
    inputs: Vec<(String, Tensor)>,
) -> Result<Vec<Tensor>, NnError> {
    let ports = graph.inputs();
    let mut given: Vec<Option<Tensor>> = vec![None; ports.len()];
    for (index, (name, tensor)) in inputs.into_iter().enumerate() {
        // Callers mostly keep the graph's order; then nothing is searched.
        let in_order = ports.get(index).is_some_and(|port| port.name == name).then_some(index);
        let position = in_order.or_else(|| ports.iter().position(|port| port.name == name));
        let Some(position) = position else {
            return Err(NnError::invalid(format!(
                "unknown input \"{}\"; the graph takes {}",
                shorten(&name),
                names(ports.iter())
            )));
        };
        ports[position].check(&tensor, |declared, given| graph.accepts(declared, given))?;
        if given[position].replace(tensor).is_some() {
            return Err(NnError::invalid(format!("input \"{name}\" is given twice")));
        }
    }
    let missing: Vec<_> = ports.iter().zip(&given).filter(|(_, tensor)| tensor.is_none()).collect();
    if !missing.is_empty() {
        let missing = names(missing.into_iter().map(|(port, _)| port));
        return Err(NnError::invalid(format!("missing input {missing}")));
    }
    Ok(given.into_iter().flatten().collect())
}

/// `"x", "y", …`, not more than a line of them.
fn names<'a>(ports: impl ExactSizeIterator<Item = &'a Port>) -> String {
    const SHOWN: usize = 8;
    let more = ports.len().saturating_sub(SHOWN);
    let shown: Vec<_> = ports.take(SHOWN).map(|port| format!("\"{}\"", port.name)).collect();
    match (shown.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A guest's name for something, short enough for a message.
fn shorten(name: &str) -> &str {
    const SHOWN: usize = 64;
    name.char_indices().nth(SHOWN).map_or(name, |(end, _)| &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ports(Vec<Port>);

    impl Graph for Ports {
        fn inputs(&self) -> &[Port] {
            &self.0
        }
        fn outputs(&self) -> &[Port] {
            &[]
        }
        fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
            check_inputs(self, inputs).map(|_| Vec::new())
        }
    }

    fn ports() -> Ports {
        Ports(vec![
            Port { name: "x".into(), dtype: Some(DType::F32), shape: Some(vec![None, Some(64)]) },
            Port { name: "y".into(), dtype: Some(DType::I64), shape: None },
        ])
    }

    fn f32s(shape: &[usize]) -> Tensor {
        Tensor::from_vec(shape, vec![0f32; shape.iter().product()]).unwrap()
    }

    fn i64s(shape: &[usize]) -> Tensor {
        Tensor::from_vec(shape, vec![0i64; shape.iter().product()]).unwrap()
    }

    #[test]
    fn inputs_come_back_in_the_graphs_order() {
        let inputs = vec![("y".into(), i64s(&[3])), ("x".into(), f32s(&[2, 64]))];
        let ordered = check_inputs(&ports(), inputs).unwrap();
        assert_eq!(format!("{ordered:?}"), "[f32[2, 64], i64[3]]");
    }

    #[test]
    fn what_is_wrong_with_an_input_is_named() {
        let x = || ("x".to_owned(), f32s(&[2, 64]));
        let y = || ("y".to_owned(), i64s(&[]));
        let cases = [
            (vec![x()], "missing input \"y\""),
            (vec![], "missing input \"x\", \"y\""),
            (vec![x(), x(), y()], "input \"x\" is given twice"),
            (vec![("z".into(), f32s(&[1]))], "unknown input \"z\"; the graph takes \"x\", \"y\""),
            (vec![("x".into(), f32s(&[32, 63]))], "input \"x\": expected f32[?, 64], got f32[32, 63]"),
            (vec![("x".into(), f32s(&[64]))], "input \"x\": expected f32[?, 64], got f32[64]"),
            (vec![("x".into(), i64s(&[2, 64]))], "input \"x\": expected f32[?, 64], got i64[2, 64]"),
            (vec![("y".into(), f32s(&[1]))], "input \"y\": expected i64 of any shape, got f32[1]"),
        ];
        for (inputs, expected) in cases {
            assert_eq!(check_inputs(&ports(), inputs).unwrap_err().message, expected);
        }
    }
}
