//! Requests and answers as bytes, by REST of the Open Inference Protocol with its binary tensor extension: JSON, then
//! the tensors' elements in the JSON's order.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tensor::{self, DType, Tensor};
use crate::{Answer, Error, Versions};

#[derive(Serialize)]
struct Request<'a> {
    inputs: Vec<Input<'a>>,
    parameters: Parameters,
}

#[derive(Serialize)]
struct Parameters {
    binary_data_output: bool,
    /// Microseconds.
    timeout: u64,
}

#[derive(Serialize)]
struct Input<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [u64],
    parameters: Size,
}

#[derive(Serialize)]
struct Size {
    binary_data_size: usize,
}

/// A request, and how long its JSON is.
pub fn encode(inputs: &[(&str, Tensor)], timeout: Duration) -> Result<(Vec<u8>, usize), Error> {
    let described = inputs.iter().map(|(name, tensor)| Input {
        name,
        datatype: tensor.dtype().name(),
        shape: tensor.shape(),
        parameters: Size { binary_data_size: tensor.bytes().len() },
    });
    let timeout = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX).max(1);
    let request =
        Request { inputs: described.collect(), parameters: Parameters { binary_data_output: true, timeout } };
    let mut body = serde_json::to_vec(&request).map_err(|error| Error::InvalidRequest(error.to_string()))?;
    let head = body.len();
    body.reserve_exact(inputs.iter().map(|(_, tensor)| tensor.bytes().len()).sum());
    inputs.iter().for_each(|(_, tensor)| body.extend_from_slice(tensor.bytes()));
    Ok((body, head))
}

#[derive(Deserialize)]
struct Response {
    outputs: Vec<Output>,
    #[serde(default)]
    parameters: Told,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    datatype: String,
    shape: Vec<u64>,
    #[serde(default)]
    parameters: OutputParameters,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    binary_data_size: Option<usize>,
}

#[derive(Default, Deserialize)]
struct Told {
    answered_by: Option<String>,
    hard: Option<bool>,
    hard_samples: Option<String>,
    plugin: Option<String>,
    model: Option<String>,
}

/// An answer, whose JSON has `head` bytes.
pub fn decode(body: &[u8], head: Option<usize>) -> Result<Answer, Error> {
    let protocol = |text: String| Error::Protocol(text);
    let (json, mut rest) = body
        .split_at_checked(head.unwrap_or(body.len()))
        .ok_or_else(|| protocol(format!("its JSON is said to go beyond its {} bytes", body.len())))?;
    let response: Response = serde_json::from_slice(json).map_err(|error| protocol(error.to_string()))?;
    let mut outputs = Vec::with_capacity(response.outputs.len().min(1024));
    for Output { name, datatype, shape, parameters } in response.outputs {
        let dtype = DType::named(&datatype)
            .ok_or_else(|| protocol(format!("output `{name:.100}` has elements of `{datatype:.100}`")))?;
        let wrong =
            || protocol(format!("output `{name:.100}` does not have the bytes of its shape {shape:?}"));
        let size = parameters.binary_data_size.ok_or_else(|| {
            protocol(format!("output `{name:.100}` came as JSON, though bytes were asked for"))
        })?;
        if tensor::byte_len(dtype, &shape) != Some(size) {
            return Err(wrong());
        }
        let (bytes, after) = rest.split_at_checked(size).ok_or_else(wrong)?;
        rest = after;
        outputs.push((name, Tensor::from_bytes(dtype, shape, bytes.to_vec())?));
    }
    let Told { answered_by, hard, hard_samples, plugin, model } = response.parameters;
    let named = hard_samples.unwrap_or_default();
    let hard_samples: Vec<usize> = named.split(',').filter_map(|sample| sample.trim().parse().ok()).collect();
    Ok(Answer {
        outputs,
        answered_by,
        hard: hard.unwrap_or(!hard_samples.is_empty()),
        hard_samples,
        versions: Versions { plugin, model },
    })
}

/// What an error's body says.
pub fn message(body: &[u8], status: u16) -> String {
    let said = serde_json::from_slice::<Value>(body).ok();
    match said.as_ref().and_then(|said| said.get("error")).and_then(Value::as_str) {
        Some(error) => error.to_owned(),
        None => {
            let start = &body[..body.len().min(200)];
            format!("status {status}: {}", String::from_utf8_lossy(start))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outputs: &str, content: &[u8]) -> Result<Answer, Error> {
        let head = format!(
            r#"{{"model_name": "digits", "outputs": [{outputs}], "parameters": {{"answered_by": "cloud", "hard": true,
            "hard_samples": "0,2", "plugin": "sha256:a"}}}}"#
        );
        decode(&[head.as_bytes(), content].concat(), Some(head.len()))
    }

    const P: &str =
        r#"{"name": "p", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}}"#;

    #[test]
    fn a_request_is_json_and_then_the_elements() {
        let x = Tensor::new(&[2], &[1.0_f32, 2.0]).unwrap();
        let rate = Tensor::new(&[], &[16_000_i64]).unwrap();
        let (body, head) = encode(&[("x", x), ("sr", rate)], Duration::from_millis(500)).unwrap();
        assert_eq!(
            std::str::from_utf8(&body[..head]).unwrap(),
            concat!(
                r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}},"#,
                r#"{"name":"sr","datatype":"INT64","shape":[],"parameters":{"binary_data_size":8}}],"#,
                r#""parameters":{"binary_data_output":true,"timeout":500000}}"#
            )
        );
        assert_eq!(body[head..head + 8], [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
        assert_eq!(body[head + 8..], 16_000_i64.to_le_bytes());
    }

    #[test]
    fn an_answer_says_who_gave_it_and_what_was_hard() {
        let answer = answer(P, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]).unwrap();
        assert_eq!(answer.output("p").unwrap().elements::<f32>().unwrap(), [1.0, 2.0]);
        assert_eq!((answer.answered_by.as_deref(), answer.hard), (Some("cloud"), true));
        assert_eq!(answer.hard_samples, [0, 2]);
        assert_eq!((answer.versions.plugin.as_deref(), answer.versions.model), (Some("sha256:a"), None));
    }

    #[test]
    fn answers_that_are_wrong_are_refused() {
        for (outputs, content, said) in [
            (P.to_owned(), &[0; 7][..], "bytes of its shape"),
            (P.replace("[2, 1]", "[2, 2]"), &[0; 8], "bytes of its shape"),
            (P.replace("[2, 1]", "[9223372036854775807, 9]"), &[0; 8], "bytes of its shape"),
            (P.replace("FP32", "FP8"), &[0; 8], "`FP8`"),
            (P.replace("binary_data_size", "other"), &[0; 8], "came as JSON"),
        ] {
            let error = answer(&outputs, content).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(decode(b"{}", Some(3)).is_err());
        assert!(decode(b"{}", None).is_err());
    }
}
