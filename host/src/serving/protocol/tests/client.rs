use sedge_api::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use sedge_api::inference::model_infer_request::InferInputTensor;
use sedge_api::inference::{
    InferTensorContents, ModelInferRequest, ModelMetadataRequest, ServerLiveRequest, ServerMetadataRequest,
    ServerReadyRequest,
};
use tonic::Code;

use super::super::client::{Client, ClientError};
use super::*;

const LONG: Duration = Duration::from_secs(20);

fn client(server: &Server) -> Client {
    Client::connect_lazy(&format!("http://{}", server.address)).unwrap()
}

fn tensor(values: &[f32]) -> Tensor {
    Tensor::from_vec(&[values.len()], values.to_vec()).unwrap()
}

#[tokio::test]
async fn a_node_asks_another() {
    let server = Server::start(Limits::default()).await;
    let client = client(&server);
    let odd = Tensor::from_vec(&[3], vec![1u8, 2, 3]).unwrap();
    let large: Vec<f32> = (0u16..5000).map(f32::from).collect();
    let inputs = vec![("odd".to_owned(), odd), ("x".to_owned(), tensor(&large))];
    let answered = client.infer("plus-one", inputs, LONG).await.unwrap();
    assert_eq!(answered.outputs[0].1.as_slice::<u8>().unwrap(), [1, 2, 3]);
    let expected: Vec<f32> = large.iter().map(|value| value + 1.0).collect();
    assert_eq!(answered.outputs[1].1.as_slice::<f32>().unwrap(), expected);
    assert_eq!(answered.answered_by.as_deref(), Some("edge"));
    assert_eq!(answered.hard, [0, 2]);
    assert_eq!(answered.plugin, Some(Digest::of(b"plugin").to_string()));
    assert!(client.ready("plus-one").await.unwrap());
    assert!(!client.ready("other").await.unwrap());
}

#[tokio::test]
async fn why_there_is_no_answer() {
    let server = Server::start(Limits::default()).await;
    let ours = client(&server);
    let ask = async |service: &str, name: &str, timeout| {
        ours.infer(service, vec![(name.to_owned(), tensor(&[1.0]))], timeout).await.unwrap_err()
    };
    let refused = |error: ClientError| match error {
        ClientError::Refused { kind, .. } => kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(ask("other", "x", LONG).await), ServeErrorKind::NotFound);
    assert_eq!(refused(ask("plus-one", "full", LONG).await), ServeErrorKind::Overloaded);
    assert!(matches!(ask("plus-one", "hang", Duration::from_millis(50)).await, ClientError::TimedOut));
    server.hanging(0).await;
    server.shutdown.cancel();
    server.serving.await.unwrap();
    assert!(matches!(ask("plus-one", "x", LONG).await, ClientError::Unreachable(_)));
    for none in ["", "a b", "https://a:1", "/path"] {
        assert!(Client::connect_lazy(none).is_err(), "{none}");
    }
}

type Stock = GrpcInferenceServiceClient<tonic::transport::Channel>;

async fn stock(server: &Server) -> Stock {
    Stock::connect(format!("http://{}", server.address)).await.unwrap()
}

fn typed(datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "x".to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        contents: Some(contents),
        ..Default::default()
    };
    ModelInferRequest { model_name: "plus-one".to_owned(), inputs: vec![input], ..Default::default() }
}

#[tokio::test]
async fn a_stock_client() {
    let server = Server::start(Limits::default()).await;
    let mut client = stock(&server).await;
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let node = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(node.name, "sedge");
    let asked = ModelMetadataRequest { name: "plus-one".to_owned(), version: String::new() };
    let model = client.model_metadata(asked).await.unwrap().into_inner();
    assert_eq!(model.inputs[0].shape, [-1, 2]);

    let floats = InferTensorContents { fp32_contents: vec![1.0, 2.0], ..Default::default() };
    let asked = ModelInferRequest { id: "7".to_owned(), ..typed("FP32", &[2], floats) };
    let answer = client.model_infer(asked).await.unwrap().into_inner();
    assert_eq!(answer.id, "7");
    assert_eq!(answer.raw_output_contents[0][..], [2.0f32, 3.0].map(f32::to_le_bytes).concat());
    let bytes = InferTensorContents { uint_contents: vec![255], ..Default::default() };
    let answer = client.model_infer(typed("UINT8", &[1], bytes)).await.unwrap().into_inner();
    assert_eq!(answer.raw_output_contents[0][..], [255]);
}

#[tokio::test]
async fn what_cannot_be_served_is_said() {
    let server = Server::start(Limits { body: 10_000, ..Limits::default() }).await;
    let mut client = stock(&server).await;
    let floats = |count| InferTensorContents { fp32_contents: vec![1.0; count], ..Default::default() };
    let bytes = InferTensorContents { uint_contents: vec![256], ..Default::default() };
    let raw = |request: ModelInferRequest, raw: &[&'static [u8]]| ModelInferRequest {
        raw_input_contents: raw.iter().map(|raw| bytes::Bytes::from_static(raw)).collect(),
        ..request
    };
    let bare = |shape: &[i64]| {
        let mut request = typed("FP32", shape, floats(0));
        request.inputs[0].contents = None;
        request
    };
    let twice = |mut request: ModelInferRequest| {
        request.inputs.push(request.inputs[0].clone());
        request
    };
    for (request, code, expected) in [
        (typed("FP32", &[3], floats(2)), Code::InvalidArgument, "tensor `x`: f32[3] takes 12 bytes, got 8"),
        (typed("FP32", &[-1], floats(1)), Code::InvalidArgument, "no size is negative"),
        (typed("FP32", &[i64::MAX, 9], floats(1)), Code::InvalidArgument, "address space"),
        (typed("FP32", &[1; 33], floats(1)), Code::InvalidArgument, "at most 32 dimensions"),
        (typed("FP16", &[1], floats(1)), Code::InvalidArgument, "send it as raw_input_contents"),
        (typed("BYTES", &[1], floats(1)), Code::InvalidArgument, "served are FP16, FP32"),
        (typed("UINT8", &[1], bytes), Code::InvalidArgument, "256 is no UINT8"),
        (raw(bare(&[1]), &[b"123"]), Code::InvalidArgument, "takes 4 bytes, got 3"),
        (raw(bare(&[1]), &[b"1234", b"1234"]), Code::InvalidArgument, "one for each"),
        (raw(typed("FP32", &[1], floats(1)), &[b"1234"]), Code::InvalidArgument, "has contents, though"),
        (twice(typed("FP32", &[1], floats(1))), Code::InvalidArgument, "given twice"),
        (typed("FP32", &[4000], floats(4000)), Code::ResourceExhausted, "at most 10000 bytes"),
    ] {
        let status = client.model_infer(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(expected), "{status:?}\n  should have: {expected}");
    }
}

#[tokio::test]
async fn a_deadline_comes_with_the_call() {
    let server = Server::start(Limits::default()).await;
    let mut client = stock(&server).await;
    let floats = InferTensorContents { fp32_contents: vec![1.0], ..Default::default() };
    let mut hurry = typed("FP32", &[1], floats);
    hurry.inputs[0].name = "hurry".to_owned();
    let status = client.model_infer(hurry.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let mut request = tonic::Request::new(hurry);
    request.set_timeout(LONG);
    client.model_infer(request).await.unwrap();
}
