//! The protocol's gRPC half: `inference.GRPCInferenceService`.

use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use sedge_api::inference::infer_parameter::ParameterChoice;
use sedge_api::inference::model_infer_request::InferInputTensor;
use sedge_api::inference::model_infer_response::InferOutputTensor;
use sedge_api::inference::model_metadata_response::TensorMetadata;
use sedge_api::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveResponse, ServerMetadataResponse,
    ServerReadyResponse,
};
use tonic::{Code, Status};

use super::super::endpoint::{self, Answer, Port, ServeError};
use super::body::{self, Reply, Share};
use super::datatypes::{self, invalid, wrong};
use super::json::MAX_TENSORS;
use super::refusal::Refusal;
use super::server::Shared;
use super::{EXTENSIONS, PLATFORM, all_ready, answer, find, rest, wire};
use crate::nn::{DType, Tensor};
use crate::runtime::NamedTensors;

const SERVICE: &str = "/inference.GRPCInferenceService/";

/// Answer a call.
pub(super) async fn respond<B>(shared: &Shared, request: Request<B>) -> Response<Reply>
where
    B: Body<Data = Bytes> + Unpin,
{
    match answered(shared, request).await {
        Ok(response) => response,
        Err(refusal) => Status::from(refusal).into_http(),
    }
}

async fn answered<B>(shared: &Shared, request: Request<B>) -> Result<Response<Reply>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let Some(call) = head.uri.path().strip_prefix(SERVICE) else {
        return Err(unimplemented(head.uri.path()));
    };
    let limits = &shared.limits;
    let (body, mut share) = body::gather(body, limits.body, limits.body_timeout, &shared.memory).await?;
    let services = &shared.services;
    let mut response = match call {
        "ModelInfer" => infer(shared, begun, &head, body, &mut share).await?,
        "ServerLive" => wire::response(&ServerLiveResponse { live: true }),
        "ServerReady" => wire::response(&ServerReadyResponse { ready: all_ready(services) }),
        "ModelReady" => {
            let ModelReadyRequest { name, version } = wire::message(body, &mut share)?;
            let ready = find(services, &name, &version)?.ready();
            wire::response(&ModelReadyResponse { ready })
        }
        "ServerMetadata" => wire::response(&ServerMetadataResponse {
            name: PLATFORM.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }),
        "ModelMetadata" => {
            let ModelMetadataRequest { name, version } = wire::message(body, &mut share)?;
            let metadata = find(services, &name, &version)?.metadata();
            wire::response(&ModelMetadataResponse {
                versions: vec![answer::version(&metadata.versions)],
                platform: PLATFORM.to_owned(),
                inputs: metadata.inputs.iter().map(port).collect(),
                outputs: metadata.outputs.iter().map(port).collect(),
                name,
            })
        }
        _ => return Err(unimplemented(head.uri.path())),
    };
    response.body_mut().hold(share)?;
    Ok(response)
}

fn unimplemented(path: &str) -> Refusal {
    let text = format!("there is no call {path:.200}");
    Refusal::new(StatusCode::NOT_FOUND, Code::Unimplemented, text)
}

fn port(port: &Port) -> TensorMetadata {
    TensorMetadata {
        name: port.name.clone(),
        datatype: datatypes::name(port.dtype).to_owned(),
        shape: port.shape.iter().map(|size| answer::dimension(*size)).collect(),
    }
}

async fn infer(
    shared: &Shared,
    begun: Instant,
    head: &Parts,
    body: Bytes,
    share: &mut Share,
) -> Result<Response<Reply>, Refusal> {
    let asked: ModelInferRequest = wire::message(body, share)?;
    let endpoint = find(&shared.services, &asked.model_name, &asked.model_version)?;
    let parameter = |name| asked.parameters.get(name).and_then(|value| value.parameter_choice.as_ref());
    let micros = match parameter("timeout") {
        Some(&ParameterChoice::Uint64Param(micros)) => Some(micros),
        Some(&ParameterChoice::Int64Param(micros)) => {
            Some(micros.try_into().map_err(|_| invalid(format!("a timeout of {micros} µs is none")))?)
        }
        Some(_) => return Err(invalid("the parameter timeout is a number of microseconds").into()),
        None => None,
    };
    let until = match head.headers.get("grpc-timeout") {
        Some(value) => {
            let timeout =
                wire::timeout(value).ok_or_else(|| invalid(format!("grpc-timeout is {value:?}")))?;
            begun.checked_add(timeout)
        }
        None => None,
    };
    let deadline = [rest::deadline(micros)?, until].into_iter().flatten().min();
    let inputs = tensors(asked.inputs, asked.raw_input_contents)?;
    // Here all elements are raw.
    let wanted: Vec<_> = asked.outputs.into_iter().map(|output| (output.name, true)).collect();

    let answer = endpoint.infer(endpoint::Request { inputs, deadline }).await?;

    let selected = answer::select(&answer, &wanted, true)?;
    let raw: Vec<Bytes> = selected.iter().map(|(_, tensor, _)| datatypes::raw(tensor)).collect();
    let outputs = selected.iter().map(|(name, tensor, _)| InferOutputTensor {
        name: (*name).to_owned(),
        datatype: datatypes::name(tensor.dtype()).to_owned(),
        shape: dimensions(tensor),
        ..InferOutputTensor::default()
    });
    let response = ModelInferResponse {
        model_name: asked.model_name,
        model_version: answer::version(&answer.versions),
        id: asked.id,
        outputs: outputs.collect(),
        parameters: parameters(&answer).into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        raw_output_contents: Vec::new(),
    };
    Ok(wire::infer_response(&response, &raw))
}

/// Of a tensor that is in memory.
pub(super) fn dimensions(tensor: &Tensor) -> Vec<i64> {
    // Sizes of what is in memory are below 2⁶³.
    tensor.shape().iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
}

fn parameters(answer: &Answer) -> Vec<(&'static str, InferParameter)> {
    let text = |text: String| InferParameter { parameter_choice: Some(ParameterChoice::StringParam(text)) };
    let hard = !answer.hard.is_empty();
    let mut parameters = vec![
        ("answered_by", text(answer.answered_by.word().to_owned())),
        ("hard", InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(hard)) }),
        ("plugin", text(answer.versions.plugin.to_string())),
    ];
    if hard {
        parameters.push(("hard_samples", text(answer::hard_samples(&answer.hard))));
    }
    if let Some(model) = &answer.versions.model {
        parameters.push(("model", text(model.to_string())));
    }
    parameters
}

/// A shape as the wire has it.
pub(super) fn shape(name: &str, shape: &[i64]) -> Result<Vec<usize>, ServeError> {
    let negative = |_| invalid(format!("tensor `{name:.100}` has shape {shape:.32?}: no size is negative"));
    shape.iter().map(|&size| usize::try_from(size).map_err(negative)).collect()
}

/// The request's tensors, their elements typed, or raw for all of them.
fn tensors(inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> Result<NamedTensors, ServeError> {
    if inputs.len() > MAX_TENSORS {
        return Err(invalid(format!("there are more than {MAX_TENSORS} tensors")));
    }
    if !raw.is_empty() && raw.len() != inputs.len() {
        let text = format!("{} inputs have {} raw_input_contents: one for each", inputs.len(), raw.len());
        return Err(invalid(text));
    }
    let mut raw = raw.into_iter();
    let mut tensors = NamedTensors::with_capacity(inputs.len());
    for input in inputs {
        let InferInputTensor { name, datatype, shape, contents, parameters } = input;
        if tensors.iter().any(|(other, _)| *other == name) {
            return Err(invalid(format!("tensor `{name:.100}` is given twice")));
        }
        if parameters.contains_key("shared_memory_region") {
            return Err(invalid(format!("tensor `{name:.100}`: no shared memory is served")));
        }
        let dtype = datatypes::parse(&datatype, &name)?;
        let shape = self::shape(&name, &shape)?;
        let tensor = match (raw.next(), contents) {
            (Some(bytes), None) => datatypes::tensor(&name, dtype, &shape, bytes)?,
            (Some(_), Some(_)) => {
                let text = "has contents, though the request has raw_input_contents";
                return Err(invalid(format!("tensor `{name:.100}` {text}")));
            }
            (None, contents) => typed(&name, dtype, &shape, contents.unwrap_or_default())?,
        };
        tensors.push((name, tensor));
    }
    Ok(tensors)
}

/// A tensor of typed elements.
fn typed(
    name: &str,
    dtype: DType,
    shape: &[usize],
    contents: InferTensorContents,
) -> Result<Tensor, ServeError> {
    let InferTensorContents { int_contents, int64_contents, uint_contents, fp32_contents, fp64_contents } =
        contents;
    let made = match dtype {
        DType::F32 => Tensor::from_vec(shape, fp32_contents),
        DType::F64 => Tensor::from_vec(shape, fp64_contents),
        DType::I32 => Tensor::from_vec(shape, int_contents),
        DType::I64 => Tensor::from_vec(shape, int64_contents),
        DType::U8 => {
            let too_large = |value| invalid(format!("tensor `{name:.100}`: {value} is no UINT8"));
            let value = |value: u32| u8::try_from(value).map_err(|_| too_large(value));
            let values: Result<Vec<u8>, _> = uint_contents.into_iter().map(value).collect();
            Tensor::from_vec(shape, values?)
        }
        DType::F16 | DType::BF16 => {
            let text = "has no typed contents: send it as raw_input_contents";
            return Err(invalid(format!("tensor `{name:.100}`: {} {text}", datatypes::name(dtype))));
        }
    };
    made.map_err(|error| wrong(name, &error))
}
