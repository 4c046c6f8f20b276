//! Computes one graph many times over.
//!
//! `start` holds all that the graph takes. What `given` names is handed over anew at each step, as a batch is; the
//! rest goes round, `NAME.next` for `NAME`, or is bound to the graph once. The update holds what came round last.

use sedge_sdk::half::{bf16, f16};
use sedge_sdk::{Element, Error, Graph, NamedTensor, Tensor, TensorType, Trainer, Update, Weights};
use serde::Deserialize;

/// What a job sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Parameters {
    /// The graph.
    graph: String,
    /// How many times.
    steps: u32,
    /// The tensors that are handed over anew at each step.
    given: Vec<String>,
    /// Bind the others to the graph, as one does to infer.
    bind: bool,
    /// First read every tensor's elements into the guest, and make it anew from them.
    through_guest: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { graph: "train".to_owned(), steps: 1, given: Vec::new(), bind: false, through_guest: false }
    }
}

struct Steps;

impl Trainer for Steps {
    type Parameters = Parameters;

    fn train(parameters: Parameters, _round: u32, start: &Weights) -> Result<Update, Error> {
        let mut tensors = start.tensors();
        if parameters.through_guest {
            tensors = tensors.into_iter().map(through_guest).collect::<Result<_, _>>()?;
        }
        let (given, mut round): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|(name, _)| parameters.given.contains(name));
        let given = Weights::new(given);
        if parameters.steps > 0 {
            let graph = match parameters.bind {
                true => Graph::bind(&Weights::new(std::mem::take(&mut round)), &parameters.graph)?,
                false => Graph::load(&parameters.graph)?,
            };
            for _ in 0..parameters.steps {
                step(&graph, given.tensors(), &mut round)?;
            }
        }
        Ok(Update { weights: Weights::new(round), samples: 1, metrics: Vec::new() })
    }
}

/// Computes once, as a trainer does: the loss is read, weights go round.
fn step(graph: &Graph, mut inputs: Vec<NamedTensor>, round: &mut Vec<NamedTensor>) -> Result<(), Error> {
    inputs.append(round);
    for (mut name, tensor) in graph.compute(inputs)?.into_tensors() {
        if let Some(length) = name.strip_suffix(".next").map(str::len) {
            name.truncate(length);
            round.push((name, tensor));
        } else if name == "loss" {
            std::hint::black_box(tensor.item_f32()?);
        }
    }
    Ok(())
}

fn through_guest((name, tensor): NamedTensor) -> Result<NamedTensor, Error> {
    fn again<T: Element>(tensor: &Tensor) -> Result<Tensor, Error> {
        Tensor::from_elements(&tensor.dimensions(), &tensor.elements::<T>()?)
    }
    let again = match tensor.ty() {
        TensorType::Fp16 => again::<f16>,
        TensorType::Fp32 => again::<f32>,
        TensorType::Fp64 => again::<f64>,
        TensorType::Bf16 => again::<bf16>,
        TensorType::U8 => again::<u8>,
        TensorType::I32 => again::<i32>,
        TensorType::I64 => again::<i64>,
    };
    Ok((name, again(&tensor)?))
}

sedge_sdk::export_trainer!(Steps);
