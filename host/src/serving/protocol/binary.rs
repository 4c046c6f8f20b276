//! The extension for binary tensors: behind a request's JSON come the elements of those tensors that say so, one
//! after the other, without anything between them.

use bytes::Bytes;

use super::super::endpoint::ServeError;
use super::datatypes::{self, invalid};
use super::json::{Content, Input};
use crate::runtime::NamedTensors;

/// Where it says how long the JSON is.
pub(super) const HEADER: &str = "inference-header-content-length";

/// Cut a body into its JSON and what is behind it.
pub(super) fn split(mut body: Bytes, header: Option<&[u8]>) -> Result<(Bytes, Bytes), ServeError> {
    let Some(header) = header else { return Ok((body, Bytes::new())) };
    let length = std::str::from_utf8(header).ok().and_then(|text| text.trim().parse::<usize>().ok());
    match length {
        Some(length) if length <= body.len() => {
            let json = body.split_to(length);
            Ok((json, body))
        }
        Some(length) => {
            let text =
                format!("Inference-Header-Content-Length is {length}, the body has {} bytes", body.len());
            Err(invalid(text))
        }
        None => Err(invalid("Inference-Header-Content-Length is no number of bytes")),
    }
}

/// The tensors, those that are behind the JSON out of `rest`, which must be just theirs.
pub(super) fn place(inputs: Vec<Input>, mut rest: Bytes) -> Result<NamedTensors, ServeError> {
    let mut tensors = NamedTensors::with_capacity(inputs.len());
    for Input { name, dtype, shape, content } in inputs {
        if tensors.iter().any(|(other, _)| *other == name) {
            return Err(invalid(format!("tensor `{name:.100}` is given twice")));
        }
        let tensor = match content {
            Content::Here(tensor) => tensor,
            Content::Behind(size) => {
                let needed = datatypes::byte_len(&name, dtype, &shape)?;
                if size != needed {
                    return Err(invalid(format!(
                        "tensor `{name:.100}`: {} of shape {shape:?} takes {needed} bytes, binary_data_size is {size}",
                        datatypes::name(dtype)
                    )));
                }
                if size > rest.len() {
                    return Err(invalid(format!(
                        "tensor `{name:.100}`: binary_data_size is {size}, {} bytes are left of the body",
                        rest.len()
                    )));
                }
                datatypes::tensor(&name, dtype, &shape, rest.split_to(size))?
            }
        };
        tensors.push((name, tensor));
    }
    if !rest.is_empty() {
        return Err(invalid(format!("{} bytes of the body belong to no tensor", rest.len())));
    }
    Ok(tensors)
}
