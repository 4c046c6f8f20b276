//! ONNX's own node tests: models of one operator with inputs and the outputs that they must give.
//! `xtask/src/bench/python/node_tests.py` writes them, with the PyPI package onnx; SEDGE_ONNX_NODE_TESTS says where.

use std::path::Path;

use prost::Message as _;

use super::super::evaluation::Evaluation;
use super::super::*;
use crate::outline::Constant;
use crate::proto::TensorProto;

/// What is known of the outputs holds for the outputs that the test has.
fn check(folder: &Path) -> Result<bool, String> {
    let file = bytes::Bytes::from(std::fs::read(folder.join("model.onnx")).unwrap());
    let outline = Outline::of(&file).map_err(|error| format!("refused: {error}"))?;
    let tensors = |what: &str| -> Option<Vec<TensorProto>> {
        let mut tensors = Vec::new();
        while let Ok(bytes) =
            std::fs::read(folder.join(format!("test_data_set_0/{what}_{}.pb", tensors.len())))
        {
            tensors.push(TensorProto::decode(&bytes[..]).ok()?);
        }
        Some(tensors)
    };
    let (Some(inputs), Some(outputs)) = (tensors("input"), tensors("output")) else { return Ok(false) };
    if inputs.len() != outline.graph.inputs.len() || outputs.len() != outline.graph.outputs.len() {
        return Ok(false);
    }
    let mut evaluation = Evaluation::new(&outline, 1, false);
    for (input, tensor) in outline.graph.inputs.iter().zip(&inputs) {
        // Some data sets are of sequences, which do not read as tensors.
        let Ok(constant) = Constant::of(tensor, "input") else { return Ok(false) };
        evaluation.set(input.slot, Value { constant: false, ..Value::from(&constant) });
    }
    evaluation.graph(&outline.graph);
    let mut sharp = true;
    for (slot, tensor) in outline.graph.outputs.iter().zip(&outputs) {
        let Ok(expected) = Constant::of(tensor, "output") else { return Ok(false) };
        let found = evaluation.get(*slot);
        if found.sequence.is_some() {
            return Ok(false);
        }
        let count = expected.shape.iter().product::<u64>() as f64;
        let within = |range: Range, value: f64| {
            // Sums depend on the order.
            let near = if value.is_finite() { value.abs() * 1e-5 + 1e-6 } else { 0.0 };
            range.lo <= value + near && value - near <= range.hi
        };
        let fits = found.dims.as_ref().is_none_or(|dims| {
            dims.len() == expected.shape.len()
                && dims.iter().zip(&expected.shape).all(|(dim, &size)| within(*dim, size as f64))
        });
        if !fits || !within(found.count(), count) {
            let found = value::describe(found.dims.as_deref());
            return Err(format!("expected {:?}, found {found}", expected.shape));
        }
        if let (Some(numbers), Some(values)) = (&found.numbers, &expected.values)
            && !numbers.iter().zip(values).all(|(range, &value)| within(*range, value) || value.is_nan())
        {
            return Err(format!("expected elements {values:?}, found {numbers:?}"));
        }
        sharp &= found.count().is_bounded();
    }
    if sharp { Ok(true) } else { Err("unknown".to_owned()) }
}

#[test]
fn every_operator_gives_what_onnx_says() {
    let Some(folder) = std::env::var_os("SEDGE_ONNX_NODE_TESTS") else { return };
    let (mut wrong, mut unknown, mut right, mut skipped) = (Vec::new(), Vec::new(), 0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match check(&path) {
            Ok(true) => right += 1,
            Ok(false) => skipped += 1,
            Err(error) if error == "unknown" || error.starts_with("refused") => {
                unknown.push(format!("{name}: {error}"));
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    wrong.sort();
    unknown.sort();
    println!("{right} right, {skipped} without tensors, {} unknown: {}", unknown.len(), unknown.join(", "));
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(right > 800, "{right}");
}
