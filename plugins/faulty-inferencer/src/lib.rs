//! An inferencer that misbehaves in the way its parameters ask for. Tests run it to show what serving and swaps hold.
//! Until then, or without a fault, it answers with the model's graph `infer`, or with what it was asked.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sedge_sdk::{Error, Graph, Inferencer, NamedTensor, Signature, Tensor, TensorType, Weights};
use serde::Deserialize;

/// What a service sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    /// How to misbehave; absent: not at all.
    fault: Option<Fault>,
    /// The first request that meets the fault, counted by each instance from 1.
    #[serde(default = "one")]
    at: u64,
    /// How long a slow one takes longer.
    #[serde(default)]
    millis: u64,
    /// Answer with the request's own tensors, without a model.
    #[serde(default)]
    echo: bool,
}

const fn one() -> u64 {
    1
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Fault {
    /// Execute an `unreachable` instruction in `prepare`.
    TrapInPrepare,
    /// Say in `prepare` that it cannot.
    ErrorInPrepare,
    /// Compute for `millis` longer in `prepare`.
    SlowInPrepare,
    /// Execute an `unreachable` instruction.
    Trap,
    /// Say that it cannot answer.
    Error,
    /// Compute for `millis` longer.
    Slow,
    /// Compute for ever.
    Loop,
    /// Answer with a row more than the request has.
    Shape,
    /// Answer with nothing.
    Nothing,
    /// Answer with NaN in place of each number.
    Nan,
}

struct Faulty {
    graph: Option<Graph>,
    parameters: Parameters,
    requests: Cell<u64>,
}

impl Inferencer for Faulty {
    type Parameters = Parameters;

    fn prepare(parameters: Parameters, deployed: &Weights) -> Result<Self, Error> {
        match parameters.fault {
            Some(Fault::TrapInPrepare) => std::process::abort(),
            Some(Fault::ErrorInPrepare) => return Err("this inferencer was asked to fail in prepare".into()),
            Some(Fault::SlowInPrepare) => spin(parameters.millis),
            _ => {}
        }
        let graph = if parameters.echo {
            None
        } else if deployed.tensors().is_empty() {
            Some(Graph::load("infer")?)
        } else {
            Some(Graph::bind(deployed, "infer")?)
        };
        Ok(Self { graph, parameters, requests: Cell::new(0) })
    }

    fn signature(&self) -> Option<Signature> {
        self.parameters.echo.then(|| Signature { inputs: Vec::new(), outputs: Vec::new() })
    }

    fn infer(&self, inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Error> {
        let request = self.requests.get() + 1;
        self.requests.set(request);
        let answer = || match &self.graph {
            Some(graph) => graph.compute(inputs).map(sedge_sdk::Outputs::into_tensors),
            None => Ok(inputs),
        };
        let Some(fault) = self.parameters.fault.filter(|_| request >= self.parameters.at) else {
            return answer();
        };
        match fault {
            Fault::Trap => std::process::abort(),
            Fault::Error => Err(format!("this inferencer was asked to fail at request {request}").into()),
            Fault::Loop => loop {
                spin(1000);
            },
            Fault::Slow => {
                spin(self.parameters.millis);
                answer()
            }
            Fault::Nothing => Ok(Vec::new()),
            Fault::Shape => answer()?.into_iter().map(|(name, tensor)| Ok((name, longer(&tensor)))).collect(),
            Fault::Nan => answer()?
                .into_iter()
                .map(|(name, tensor)| {
                    let elements = tensor.to_f32()?.len();
                    Ok((name, Tensor::from_f32(&tensor.dimensions(), &vec![f32::NAN; elements])?))
                })
                .collect(),
            Fault::TrapInPrepare | Fault::ErrorInPrepare | Fault::SlowInPrepare => answer(),
        }
    }
}

/// Computes for so long: no sleep, which gives the thread back.
fn spin(millis: u64) {
    let until = Instant::now() + Duration::from_millis(millis);
    while Instant::now() < until {
        std::hint::black_box(until);
    }
}

/// The tensor with a row of zeros more.
fn longer(tensor: &Tensor) -> Tensor {
    let mut shape = tensor.dimensions();
    let row: usize = shape.iter().skip(1).map(|&size| size as usize).product();
    match shape.first_mut() {
        Some(rows) => *rows += 1,
        None => shape.push(2),
    }
    let mut data = tensor.data();
    data.resize(data.len() + row * size_of_element(tensor.ty()), 0);
    Tensor::new(&shape, tensor.ty(), &data)
}

const fn size_of_element(ty: TensorType) -> usize {
    match ty {
        TensorType::U8 => 1,
        TensorType::Fp16 | TensorType::Bf16 => 2,
        TensorType::Fp32 | TensorType::I32 => 4,
        TensorType::Fp64 | TensorType::I64 => 8,
    }
}

sedge_sdk::export_inferencer!(Faulty);
