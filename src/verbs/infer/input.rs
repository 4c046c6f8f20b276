//! What a person gives to be inferred on, read: a request as it is, or samples or a picture that become one by what the
//! service says it takes. Called by `infer`.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cap_std::fs::Dir;
use sedge_host::data::{Dataset, Description, Format, Split};
use sedge_host::nn::{DType, Tensor};
use serde_json::Value;

use super::picture::Picture;
use super::samples::{Samples, short};
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
    /// Values by the names of inputs.
    Arrays(Vec<(String, Samples)>),
    /// A picture, for the one input of a service.
    Picture(Picture),
}

/// Read `path`; what it is says its ending. The column `label` of a table is left out. Blocking.
pub fn read(path: &Path, label: Option<&str>) -> anyhow::Result<Given> {
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
        "npy" => Ok(Given::Samples(array(path, Format::Npy, label)?)),
        "csv" => Ok(Given::Samples(array(path, Format::Csv, label)?)),
        "npz" => Ok(Given::Arrays(arrays(path, Format::Npz, None)?)),
        "png" | "jpg" | "jpeg" => {
            let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
            Ok(Given::Picture(Picture::decode(&shown, file)?))
        }
        _ => Err(Failure::new(format!("{shown} is none of .npy, .npz, .csv, .json, .png and .jpg")).into()),
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

/// All samples of a file that has one array.
fn array(path: &Path, format: Format, label: Option<&str>) -> anyhow::Result<Samples> {
    let first = arrays(path, format, label)?.into_iter().next();
    Ok(first.context("the file has no samples")?.1)
}

/// All samples of a file that a node could hold as a dataset, by name.
fn arrays(path: &Path, format: Format, label: Option<&str>) -> anyhow::Result<Vec<(String, Samples)>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).context("the file's name is not UTF-8")?;
    let dir = Dir::open_ambient_dir(folder, cap_std::ambient_authority())
        .with_context(|| format!("cannot open {}", folder.display()))?;
    let label = label.map(str::to_owned);
    let description = Description { format, label, ..Description::default() };
    let dataset = Arc::new(Dataset::open(&dir, name, description)?);
    let size = dataset.size(Split::All);
    let batch = dataset.batches(Split::All, size, None).try_next().map_err(anyhow::Error::msg)?;
    let named = |(name, tensor): (String, Tensor)| {
        Ok((name, Samples { shape: tensor.shape().to_vec(), data: elements(&tensor)? }))
    };
    batch.into_iter().flatten().map(named).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> anyhow::Result<Given> {
        json_given("x.json", text.as_bytes())
    }

    #[test]
    fn a_request_goes_as_it_is_and_what_is_neither_is_refused() {
        assert!(matches!(given(r#"{"inputs": []}"#).unwrap(), Given::Request(_)));
        for text in ["7", "{}", "[[1], [2, 3]]", "[1, [2]]", "[[1], 2]", "[null]"] {
            assert!(given(text).is_err(), "{text}");
        }
        let Given::Samples(samples) = given("[[1, 2], [3, 4]]").unwrap() else { panic!() };
        assert_eq!((samples.shape, samples.data.len()), (vec![2, 2], 4));
    }

    #[test]
    fn what_a_file_is_says_its_ending() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let Given::Samples(samples) = read(&path("x.CSV", b"a,b\n1,2\n3,4\n"), None).unwrap() else {
            panic!()
        };
        assert_eq!(samples.shape, [2, 2]);
        let refused = read(&path("x.gif", b""), None).unwrap_err().to_string();
        assert!(refused.ends_with("none of .npy, .npz, .csv, .json, .png and .jpg"), "{refused}");
        assert!(read(&path("x.png", b"no picture"), None).is_err());

        let stored = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digits-joint/held-out.npz");
        let Given::Arrays(arrays) = read(Path::new(stored), None).unwrap() else { panic!() };
        assert!(arrays.iter().any(|(name, samples)| name == "x" && samples.shape == [449, 64]));
    }
}
