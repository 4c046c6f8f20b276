//! How many of ONNX's own node tests each engine computes: models of an operator or two, with inputs and the outputs that
//! they must give.
//!
//! SEDGE_ONNX_NODE_TESTS says where they are; `xtask/src/bench/python/node_tests.py` writes them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;
use sedge_api::Digest;
use sedge_host::nn::{DType, GraphOptions, Graphs, Tensor, bf16, f16};
use sedge_onnx::proto::TensorProto;
use sedge_onnx::proto::tensor_proto::DataType;
use serde_json::{Value, json};

/// How far an output may lie from what it must be, as ONNX's own runner has it.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-5;

/// What became of a test.
enum Outcome {
    Right,
    Wrong,
    Refused,
}

/// Counts for each engine; empty where there are no tests.
pub fn measure(graphs: &Graphs, engines: &[String]) -> Vec<Value> {
    let Some(folder) = std::env::var_os("SEDGE_ONNX_NODE_TESTS") else { return Vec::new() };
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    // Tests of sequences, of texts and of types that `wasi:nn` does not have say nothing of an engine here.
    let tests: Vec<Test> = folders.iter().filter_map(|folder| Test::read(folder)).collect();
    let count = |engine: &String| {
        let (mut right, mut wrong, mut refused) = (0, 0, 0);
        for test in &tests {
            match test.outcome(graphs, engine) {
                Outcome::Right => right += 1,
                Outcome::Wrong => wrong += 1,
                Outcome::Refused => refused += 1,
            }
        }
        eprintln!("{engine}: of {} node tests {right} right, {wrong} wrong, {refused} refused", tests.len());
        json!({"engine": engine, "tests": tests.len(), "right": right, "wrong": wrong, "refused": refused})
    };
    engines.iter().map(count).collect()
}

struct Test {
    file: Bytes,
    given: Vec<(String, Tensor)>,
    expected: Vec<Tensor>,
}

impl Test {
    fn read(folder: &Path) -> Option<Self> {
        let file = Bytes::from(std::fs::read(folder.join("model.onnx")).ok()?);
        let tensors = |what: &str| -> Option<Vec<Tensor>> {
            let file = |at: usize| std::fs::read(folder.join(format!("test_data_set_0/{what}_{at}.pb"))).ok();
            (0..).map_while(file).map(|bytes| tensor(&TensorProto::decode(&bytes[..]).ok()?)).collect()
        };
        let (inputs, expected) = (tensors("input")?, tensors("output")?);
        let signature = sedge_onnx::signature(&file).ok()?;
        if inputs.len() != signature.inputs.len() || expected.len() != signature.outputs.len() {
            return None;
        }
        let names = signature.inputs.into_iter().map(|input| input.name);
        Some(Self { file, given: names.zip(inputs).collect(), expected })
    }

    fn outcome(&self, graphs: &Graphs, engine: &str) -> Outcome {
        let options = GraphOptions { engine: Some(engine.to_owned()), ..GraphOptions::default() };
        let loaded = graphs.load(&Digest::of(&self.file), &options, || Ok(self.file.clone()));
        let Ok(outputs) = loaded.and_then(|loaded| {
            // As a worker does, to which a graph of unknown size is refused.
            loaded.graph.memory(&mut self.given.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
            loaded.graph.compute(self.given.clone())
        }) else {
            return Outcome::Refused;
        };
        let right = outputs.len() == self.expected.len()
            && outputs.iter().zip(&self.expected).all(|((_, output), expected)| near(output, expected));
        if right { Outcome::Right } else { Outcome::Wrong }
    }
}

fn near(ours: &Tensor, theirs: &Tensor) -> bool {
    let close = |(ours, theirs): (f64, f64)| {
        ours == theirs
            || (ours.is_nan() && theirs.is_nan())
            || (ours - theirs).abs() <= ABSOLUTE + RELATIVE * theirs.abs()
    };
    (ours.dtype(), ours.shape()) == (theirs.dtype(), theirs.shape())
        && numbers(ours).into_iter().zip(numbers(theirs)).all(close)
}

/// The elements as numbers.
pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    macro_rules! of {
        ($rust:ty, $number:expr) => {
            tensor.as_slice::<$rust>().expect("of that type").iter().map($number).collect()
        };
    }
    match tensor.dtype() {
        DType::F16 => of!(f16, |value| value.to_f64()),
        DType::BF16 => of!(bf16, |value| value.to_f64()),
        DType::F32 => of!(f32, |&value| f64::from(value)),
        DType::F64 => of!(f64, |&value| value),
        DType::U8 => of!(u8, |&value| f64::from(value)),
        DType::I32 => of!(i32, |&value| f64::from(value)),
        DType::I64 => of!(i64, |&value| value as f64),
    }
}

fn tensor(proto: &TensorProto) -> Option<Tensor> {
    let dtype = match DataType::try_from(proto.data_type?).ok()? {
        DataType::Float16 => DType::F16,
        DataType::Bfloat16 => DType::BF16,
        DataType::Float => DType::F32,
        DataType::Double => DType::F64,
        // A truth value is a byte in `wasi:nn`.
        DataType::Uint8 | DataType::Bool => DType::U8,
        DataType::Int32 => DType::I32,
        DataType::Int64 => DType::I64,
        _ => return None,
    };
    let shape = proto.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<Vec<_>>>()?;
    Tensor::from_bytes(dtype, &shape, proto.raw_data.as_deref().unwrap_or_default()).ok()
}
