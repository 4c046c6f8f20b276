//! Asks another node's services: the protocol's other side, over gRPC and one persistent connection.
//!
//! Offload asks the cloud with it, the command line any node. A request's elements are sent from where they lie
//! into the message; an answer's stay in the message where they are aligned.

use std::time::Duration;

use sedge_api::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use sedge_api::inference::infer_parameter::ParameterChoice;
use sedge_api::inference::model_infer_request::InferInputTensor;
use sedge_api::inference::{ModelInferRequest, ModelInferResponse, ModelReadyRequest};
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::super::endpoint::ServeErrorKind;
use super::{datatypes, grpc};
use crate::runtime::NamedTensors;

/// Bytes of an answer, at most.
const ANSWER: usize = 64 << 20;
const CONNECT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const WINDOW: u32 = 4 << 20;
/// How long the far side may take to say whether a service is ready.
const READY: Duration = Duration::from_secs(5);

/// A node that is asked; clone shares its connection.
#[derive(Debug, Clone)]
pub struct Client(GrpcInferenceServiceClient<Channel>);

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Named tensors.
    pub outputs: NamedTensors,
    /// Who answered, where it says so.
    pub answered_by: Option<String>,
    /// Samples that were hard.
    pub hard: Vec<usize>,
    /// Digest of the plugin, where it says so.
    pub plugin: Option<String>,
    /// Digest of the model, where it says so.
    pub model: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The endpoint is no `http://host:port`.
    #[error("`{endpoint}` is no endpoint of a node (http://host:port): {why}")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The service answered with an error of its own.
    #[error("{message}")]
    Refused {
        /// What can be done about it.
        kind: ServeErrorKind,
        /// The service's words.
        message: String,
    },
    /// The answer did not come in time.
    #[error("no answer came in time")]
    TimedOut,
    /// The node cannot be reached, or the connection was lost.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// The answer is not as the protocol has it.
    #[error("the answer is not as it must be: {0}")]
    Malformed(String),
}

impl Client {
    /// A client of the node at `endpoint` (`http://host:port`), connected at the first request and again where
    /// the connection is lost.
    ///
    /// # Errors
    /// Where `endpoint` is none.
    pub fn connect_lazy(endpoint: &str) -> Result<Self, ClientError> {
        let wrong = |why: String| ClientError::Endpoint { endpoint: endpoint.to_owned(), why };
        let parsed = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| wrong(error.to_string()))?;
        if parsed.uri().scheme_str() != Some("http") || parsed.uri().host().is_none() {
            return Err(wrong("it does not begin with http:// and a host".to_owned()));
        }
        let channel = parsed
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(false)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .connect_lazy();
        Ok(Self(GrpcInferenceServiceClient::new(channel).max_decoding_message_size(ANSWER)))
    }

    /// Have `service` answer within `timeout`.
    ///
    /// # Errors
    /// As [`ClientError`] has them.
    pub async fn infer(
        &self,
        service: &str,
        inputs: NamedTensors,
        timeout: Duration,
    ) -> Result<Answered, ClientError> {
        let mut message = ModelInferRequest { model_name: service.to_owned(), ..Default::default() };
        for (name, tensor) in inputs {
            message.raw_input_contents.push(datatypes::raw(&tensor));
            message.inputs.push(InferInputTensor {
                datatype: datatypes::name(tensor.dtype()).to_owned(),
                shape: grpc::dimensions(&tensor),
                name,
                ..Default::default()
            });
        }
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        let mut client = self.0.clone();
        let answered = tokio::time::timeout(timeout, client.model_infer(request)).await;
        let response = answered.map_err(|_| ClientError::TimedOut)?.map_err(failed)?;
        read(response.into_inner())
    }

    /// Whether `service` would answer.
    ///
    /// # Errors
    /// As [`ClientError`] has them; a service that is not there is not ready.
    pub async fn ready(&self, service: &str) -> Result<bool, ClientError> {
        let message = ModelReadyRequest { name: service.to_owned(), version: String::new() };
        let mut client = self.0.clone();
        let answered = tokio::time::timeout(READY, client.model_ready(message)).await;
        match answered.map_err(|_| ClientError::TimedOut)? {
            Ok(response) => Ok(response.into_inner().ready),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(failed(status)),
        }
    }
}

fn failed(status: Status) -> ClientError {
    let kind = match status.code() {
        // Of the service where it came over the wire; else of the connection, which has a source.
        Code::Unavailable if std::error::Error::source(&status).is_none() => ServeErrorKind::Unavailable,
        Code::DeadlineExceeded | Code::Cancelled => return ClientError::TimedOut,
        Code::Unavailable | Code::Unknown => return ClientError::Unreachable(reason(&status)),
        Code::NotFound => ServeErrorKind::NotFound,
        Code::InvalidArgument => ServeErrorKind::InvalidArgument,
        Code::ResourceExhausted => ServeErrorKind::Overloaded,
        Code::Internal if std::error::Error::source(&status).is_none() => ServeErrorKind::Internal,
        Code::Internal => return ClientError::Unreachable(reason(&status)),
        _ => return ClientError::Malformed(reason(&status)),
    };
    ClientError::Refused { kind, message: status.message().to_owned() }
}

/// The status with what is behind it: tonic says `transport error` alone.
fn reason(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

fn read(response: ModelInferResponse) -> Result<Answered, ClientError> {
    let malformed = |error: super::ServeError| ClientError::Malformed(error.message);
    let (outputs, raw) = (response.outputs, response.raw_output_contents);
    if outputs.len() != raw.len() {
        let text = format!("{} outputs have {} raw_output_contents", outputs.len(), raw.len());
        return Err(ClientError::Malformed(text));
    }
    let mut tensors = NamedTensors::with_capacity(outputs.len());
    for (output, bytes) in outputs.into_iter().zip(raw) {
        let dtype = datatypes::parse(&output.datatype, &output.name).map_err(malformed)?;
        let shape = grpc::shape(&output.name, &output.shape).map_err(malformed)?;
        let tensor = datatypes::tensor(&output.name, dtype, &shape, bytes).map_err(malformed)?;
        tensors.push((output.name, tensor));
    }
    let mut parameters = response.parameters;
    let mut text = |name| match parameters.remove(name)?.parameter_choice? {
        ParameterChoice::StringParam(text) => Some(text),
        _ => None,
    };
    let hard = text("hard_samples").unwrap_or_default();
    let hard = hard.split(',').filter(|index| !index.is_empty()).map(str::parse);
    let hard: Result<Vec<usize>, _> = hard.collect();
    let hard = hard.map_err(|error| ClientError::Malformed(format!("hard_samples: {error}")))?;
    Ok(Answered {
        outputs: tensors,
        hard,
        answered_by: text("answered_by"),
        plugin: text("plugin"),
        model: text("model"),
    })
}
