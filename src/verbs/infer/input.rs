//! What a person gives to be inferred on: a request as it is, or samples that become one by what the service says
//! it takes. Called by `infer`.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cap_std::fs::Dir;
use sedge_host::data::{Dataset, Format, Source, Split};
use sedge_host::nn::{DType, Tensor};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The largest file that is read as JSON.
const MAX_JSON: u64 = 256 << 20;
/// Dimensions of samples, at most.
const DEEPEST: usize = 16;

/// What was given.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// A request of the Open Inference Protocol.
    Request(Value),
    /// Values in an order, for the one input of a service.
    Samples(Samples),
}

/// Values of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    shape: Vec<usize>,
    data: Vec<Value>,
}

/// Read `path`; what it is says its ending. Blocking.
pub fn read(path: &Path) -> anyhow::Result<Given> {
    if path == Path::new("-") {
        return json_given("standard input", std::io::stdin().lock());
    }
    let shown = path.display().to_string();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
    match ending.as_str() {
        "json" => {
            let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
            json_given(&shown, file)
        }
        "npy" => Ok(Given::Samples(table(path, Format::Npy)?)),
        "csv" => Ok(Given::Samples(table(path, Format::Csv)?)),
        "png" | "jpg" | "jpeg" => {
            Err(Failure::new(format!("{shown} is an image, which this build does not read"))
                .hint("make a NumPy array of it, as the service's input is shaped, and pass the .npy file")
                .into())
        }
        _ => Err(Failure::new(format!("{shown} is none of .npy, .csv and .json")).into()),
    }
}

fn json_given(what: &str, file: impl std::io::Read) -> anyhow::Result<Given> {
    let mut text = Vec::new();
    file.take(MAX_JSON + 1).read_to_end(&mut text).with_context(|| format!("cannot read {what}"))?;
    if text.len() as u64 > MAX_JSON {
        return Err(Failure::new(format!("{what} is larger than 256 MiB")).into());
    }
    let value: Value = serde_json::from_slice(&text).with_context(|| format!("{what} is no JSON"))?;
    match value {
        Value::Object(fields) if fields.contains_key("inputs") => Ok(Given::Request(Value::Object(fields))),
        Value::Array(_) => {
            let mut samples = Samples { shape: Vec::new(), data: Vec::new() };
            flatten(value, 0, &mut samples)
                .map_err(|why| Failure::new(format!("{what} is no array of samples: {why}")))?;
            Ok(Given::Samples(samples))
        }
        _ => {
            Err(Failure::new(format!("{what} is neither a request with `inputs` nor an array of samples"))
                .into())
        }
    }
}

/// Put the elements of arrays of arrays, which must be of one length in each dimension, into `samples`.
fn flatten(value: Value, depth: usize, samples: &mut Samples) -> Result<(), String> {
    match value {
        Value::Array(items) if depth < DEEPEST => {
            match samples.shape.get(depth) {
                None if samples.data.is_empty() => samples.shape.push(items.len()),
                Some(length) if *length == items.len() => {}
                _ => return Err(format!("in dimension {depth}, its arrays differ in length")),
            }
            items.into_iter().try_for_each(|item| flatten(item, depth + 1, samples))
        }
        Value::Number(_) | Value::Bool(_) | Value::String(_) if depth == samples.shape.len() => {
            samples.data.push(value);
            Ok(())
        }
        Value::Number(_) | Value::Bool(_) | Value::String(_) => Err("its arrays differ in depth".to_owned()),
        other => Err(format!("`{}` is no element", crate::columns::written(&other))),
    }
}

/// All samples of a file that a node could hold as a dataset.
fn table(path: &Path, format: Format) -> anyhow::Result<Samples> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).context("the file's name is not UTF-8")?;
    let dir = Dir::open_ambient_dir(folder, cap_std::ambient_authority())
        .with_context(|| format!("cannot open {}", folder.display()))?;
    let source = Source { path: name.to_owned(), format, label: None, test_share: 0.0, split_seed: 0 };
    let dataset = Arc::new(Dataset::open(&dir, &source)?);
    let size = dataset.size(Split::All);
    let batch = dataset.batches(Split::All, size, None).try_next()?;
    let (_, tensor) = batch.into_iter().flatten().next().context("the file has no samples")?;
    Ok(Samples { shape: tensor.shape().to_vec(), data: elements(&tensor)? })
}

fn elements(tensor: &Tensor) -> anyhow::Result<Vec<Value>> {
    fn list<T: Copy>(values: &[T], value: impl Fn(T) -> Value) -> Vec<Value> {
        values.iter().map(|one| value(*one)).collect()
    }
    Ok(match tensor.dtype() {
        // As text, so that 0.1 does not become 0.10000000149.
        DType::F32 => list(tensor.as_slice::<f32>()?, short),
        DType::F64 => list(tensor.as_slice::<f64>()?, Value::from),
        DType::U8 => list(tensor.as_slice::<u8>()?, Value::from),
        DType::I32 => list(tensor.as_slice::<i32>()?, Value::from),
        DType::I64 => list(tensor.as_slice::<i64>()?, Value::from),
        other => anyhow::bail!("elements of type {other:?} cannot be sent as JSON: convert them to float32"),
    })
}

/// The shortest number that reads back as `value`; what is not finite is null, which a service refuses by place.
fn short(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

impl Samples {
    /// A request for the one input that `metadata` says the service takes.
    pub fn request(self, metadata: &Value) -> Result<Value, Failure> {
        let inputs = metadata["inputs"].as_array().map_or(&[][..], Vec::as_slice);
        let (name, datatype, declared) = match inputs {
            // A plugin that does not say what it takes is given `x`, as datasets have it.
            [] => ("x", "FP32", None),
            [input] => {
                let shape = input["shape"].as_array().map(|shape| shape.iter().map(Value::as_i64).collect());
                let name = input["name"].as_str().unwrap_or("x");
                (name, input["datatype"].as_str().unwrap_or("FP32"), shape)
            }
            several => {
                let names: Vec<&str> = several.iter().filter_map(|input| input["name"].as_str()).collect();
                return Err(Failure::new(format!(
                    "the service takes {} inputs: {}",
                    several.len(),
                    names.join(", ")
                ))
                .hint("pass a .json file with a request of the Open Inference Protocol that has them all"));
            }
        };
        let shape = match declared {
            Some(declared) => self.shaped(name, declared)?,
            None => self.shape.clone(),
        };
        Ok(json!({"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": self.data}]}))
    }

    /// The shape of the samples as the service declares it: the first dimension counts them.
    fn shaped(&self, name: &str, declared: Vec<Option<i64>>) -> Result<Vec<usize>, Failure> {
        let fixed: Vec<Option<usize>> =
            declared.iter().map(|size| size.and_then(|size| usize::try_from(size).ok())).collect();
        let fits = |shape: &[usize]| {
            shape.len() == fixed.len()
                && shape.iter().zip(&fixed).all(|(have, want)| want.is_none_or(|w| w == *have))
        };
        let one: Vec<usize> = std::iter::once(1).chain(self.shape.iter().copied()).collect();
        if fits(&self.shape) {
            return Ok(self.shape.clone());
        }
        if fits(&one) {
            return Ok(one);
        }
        // Other dimensions that hold as many: 784 values as 28×28.
        let rest: Option<Vec<usize>> = fixed.iter().skip(1).copied().collect();
        if let Some(rest) = rest.filter(|_| !fixed.is_empty()) {
            let each: usize = rest.iter().product();
            let count = self.data.len().checked_div(each).filter(|count| count * each == self.data.len());
            let shape = count.map(|count| std::iter::once(count).chain(rest).collect::<Vec<_>>());
            if let Some(shape) = shape.filter(|shape| fits(shape) && shape[0] > 0) {
                return Ok(shape);
            }
        }
        let written: Vec<String> =
            fixed.iter().map(|size| size.map_or("any".to_owned(), |size| size.to_string())).collect();
        Err(Failure::new(format!(
            "the service takes `{name}` of the shape [{}], and what was given has {:?}",
            written.join(", "),
            self.shape
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> anyhow::Result<Given> {
        json_given("x.json", text.as_bytes())
    }

    fn request(text: &str, shape: Value) -> Result<Value, Failure> {
        let Given::Samples(samples) = given(text).unwrap() else { panic!("{text}") };
        let metadata = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape}]});
        samples.request(&metadata).map(|request| request["inputs"][0]["shape"].clone())
    }

    #[test]
    fn samples_take_the_shape_that_the_service_declares() {
        assert_eq!(request("[[1, 2], [3, 4]]", json!([-1, 2])).unwrap(), json!([2, 2]));
        assert_eq!(request("[1, 2]", json!([-1, 2])).unwrap(), json!([1, 2]), "one sample");
        assert_eq!(request("[[1, 2, 3, 4]]", json!([-1, 2, 2])).unwrap(), json!([1, 2, 2]));
        assert_eq!(request("[[1, 2], [3, 4]]", json!([-1, -1])).unwrap(), json!([2, 2]));
        let refused = request("[[1, 2, 3]]", json!([-1, 2])).unwrap_err().to_string();
        assert_eq!(refused, "the service takes `x` of the shape [any, 2], and what was given has [1, 3]");
    }

    #[test]
    fn a_request_goes_as_it_is_and_what_is_neither_is_refused() {
        assert!(matches!(given(r#"{"inputs": []}"#).unwrap(), Given::Request(_)));
        for text in ["7", "{}", "[[1], [2, 3]]", "[1, [2]]", "[[1], 2]", "[null]"] {
            assert!(given(text).is_err(), "{text}");
        }
        let several = json!({"inputs": [{"name": "a"}, {"name": "b"}]});
        let samples = Samples { shape: vec![1], data: vec![json!(1)] };
        assert_eq!(samples.request(&several).unwrap_err().to_string(), "the service takes 2 inputs: a, b");
    }

    #[test]
    fn numbers_are_sent_as_short_as_they_read_back() {
        assert_eq!(short(0.1).to_string(), "0.1");
        assert_eq!(short(f32::NAN), Value::Null);
    }
}
