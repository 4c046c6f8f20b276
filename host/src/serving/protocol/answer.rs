//! An answer in JSON, binary tensors behind it where they are asked for.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;

use super::super::endpoint::{Answer, Metadata, Port, ServeError, Versions};
use super::datatypes::{self, invalid};
use crate::nn::{DType, Element, Tensor, bf16, f16};

/// The version of a service: of its model, else of its plugin.
pub(super) fn version(versions: &Versions) -> String {
    versions.model.as_ref().unwrap_or(&versions.plugin).short()
}

/// Indices of hard samples, as the parameter has them.
pub(super) fn hard_samples(hard: &[usize]) -> String {
    let mut text = String::with_capacity(hard.len() * 4);
    for (at, sample) in hard.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{sample}");
    }
    text
}

/// Which outputs go into a response, and how: all, or those that are named.
pub(super) fn select<'a>(
    answer: &'a Answer,
    wanted: &[(String, bool)],
    all_binary: bool,
) -> Result<Vec<(&'a str, &'a Tensor, bool)>, ServeError> {
    if wanted.is_empty() {
        let all = answer.outputs.iter().map(|(name, tensor)| (name.as_str(), tensor, all_binary));
        return Ok(all.collect());
    }
    let mut selected: Vec<(&str, &Tensor, bool)> = Vec::with_capacity(wanted.len());
    for (name, binary) in wanted {
        let Some((name, tensor)) = answer.outputs.iter().find(|(other, _)| other == name) else {
            let there: Vec<_> = answer.outputs.iter().map(|(name, _)| name.as_str()).collect();
            return Err(invalid(format!("there is no output `{name:.100}`; there are {}", there.join(", "))));
        };
        if selected.iter().any(|(other, ..)| other == name) {
            return Err(invalid(format!("output `{name:.100}` is asked for twice")));
        }
        selected.push((name, tensor, *binary));
    }
    Ok(selected)
}

/// A response's JSON and the binary tensors behind it.
pub(super) fn write(
    service: &str,
    id: Option<&str>,
    answer: &Answer,
    outputs: &[(&str, &Tensor, bool)],
) -> Result<(Vec<u8>, Vec<Bytes>), ServeError> {
    let written =
        outputs.iter().filter(|(.., binary)| !binary).map(|(_, tensor, _)| tensor.len()).sum::<usize>();
    let mut out = Vec::with_capacity(512 + 128 * outputs.len() + 12 * written);
    let mut behind = Vec::new();
    out.extend_from_slice(b"{\"model_name\":");
    json(&mut out, service);
    out.extend_from_slice(b",\"model_version\":");
    json(&mut out, &version(&answer.versions));
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        json(&mut out, id);
    }
    parameters(&mut out, answer);
    out.extend_from_slice(b",\"outputs\":[");
    for (at, (name, tensor, binary)) in outputs.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        json(&mut out, name);
        out.extend_from_slice(b",\"datatype\":");
        json(&mut out, datatypes::name(tensor.dtype()));
        out.extend_from_slice(b",\"shape\":");
        json(&mut out, tensor.shape());
        if *binary {
            out.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
            json(&mut out, &tensor.byte_len());
            out.extend_from_slice(b"}}");
            behind.push(datatypes::raw(tensor));
        } else {
            out.extend_from_slice(b",\"data\":");
            data(&mut out, name, tensor)?;
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"]}");
    Ok((out, behind))
}

fn parameters(out: &mut Vec<u8>, answer: &Answer) {
    out.extend_from_slice(b",\"parameters\":{\"answered_by\":");
    json(out, answer.answered_by.word());
    out.extend_from_slice(b",\"hard\":");
    json(out, &!answer.hard.is_empty());
    if !answer.hard.is_empty() {
        out.extend_from_slice(b",\"hard_samples\":");
        json(out, &hard_samples(&answer.hard));
    }
    out.extend_from_slice(b",\"plugin\":");
    json(out, &answer.versions.plugin.to_string());
    if let Some(model) = &answer.versions.model {
        out.extend_from_slice(b",\"model\":");
        json(out, &model.to_string());
    }
    out.push(b'}');
}

/// Strings, numbers and arrays of numbers.
fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // A vector takes all that is written to it, and such values can all be written.
    let _ = serde_json::to_writer(out, value);
}

fn data(out: &mut Vec<u8>, name: &str, tensor: &Tensor) -> Result<(), ServeError> {
    match tensor.dtype() {
        DType::F16 => numbers::<f16, f32>(out, name, tensor, f32::is_finite),
        DType::BF16 => numbers::<bf16, f32>(out, name, tensor, f32::is_finite),
        DType::F32 => numbers::<f32, f32>(out, name, tensor, f32::is_finite),
        DType::F64 => numbers::<f64, f64>(out, name, tensor, f64::is_finite),
        DType::I64 => numbers::<i64, i64>(out, name, tensor, |_| true),
        DType::I32 => numbers::<i32, i32>(out, name, tensor, |_| true),
        DType::U8 => numbers::<u8, u8>(out, name, tensor, |_| true),
    }
}

/// Elements in the shortest form that reads back as what they are.
fn numbers<T: Element + Into<W>, W: Serialize + Copy>(
    out: &mut Vec<u8>,
    name: &str,
    tensor: &Tensor,
    finite: impl Fn(W) -> bool,
) -> Result<(), ServeError> {
    let aligned;
    let values = match tensor.as_slice::<T>() {
        Ok(values) => values,
        // An engine's memory that is not aligned for its type.
        Err(_) => {
            aligned = Tensor::from_bytes(tensor.dtype(), tensor.shape(), tensor.bytes())
                .map_err(|error| datatypes::wrong(name, &error))?;
            aligned.as_slice::<T>().map_err(|error| datatypes::wrong(name, &error))?
        }
    };
    out.push(b'[');
    for (at, &value) in values.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let value: W = value.into();
        if !finite(value) {
            let text = "has elements that are not finite, which JSON cannot say: ask for it with binary_data";
            return Err(invalid(format!("output `{name:.100}` {text}")));
        }
        json(out, &value);
    }
    out.push(b']');
    Ok(())
}

/// A dimension as metadata has it: -1 is any size.
pub(super) fn dimension(size: Option<usize>) -> i64 {
    size.and_then(|size| size.try_into().ok()).unwrap_or(-1)
}

/// What a service takes and gives.
pub(super) fn metadata(service: &str, metadata: &Metadata) -> Vec<u8> {
    #[derive(Serialize)]
    struct Ports<'a> {
        name: &'a str,
        datatype: &'a str,
        shape: Vec<i64>,
    }
    #[derive(Serialize)]
    struct Model<'a> {
        name: &'a str,
        versions: [String; 1],
        platform: &'a str,
        inputs: Vec<Ports<'a>>,
        outputs: Vec<Ports<'a>>,
    }
    fn described(ports: &[Port]) -> Vec<Ports<'_>> {
        let shape = |port: &Port| port.shape.iter().map(|size| dimension(*size)).collect();
        let datatype = |port: &Port| datatypes::name(port.dtype);
        ports
            .iter()
            .map(|port| Ports { name: &port.name, datatype: datatype(port), shape: shape(port) })
            .collect()
    }
    let model = Model {
        name: service,
        versions: [version(&metadata.versions)],
        platform: super::PLATFORM,
        inputs: described(&metadata.inputs),
        outputs: described(&metadata.outputs),
    };
    let mut out = Vec::new();
    json(&mut out, &model);
    out
}
