//! Samples that leave a node and come to one, through the manager.

use kube::api::{Api, PostParams};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sedge_api::node::hub_client::HubClient;
use sedge_api::node::transfer_request::What;
use sedge_api::node::{
    MAX_TRANSFER_BYTES, ManagerPiece, NodePiece, NodeRole, TransferAnswer, TransferRequest, manager_piece,
    node_piece,
};
use sedge_api::resources::Dataset;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::node::Node;
use super::{Manager, resource, start};

const DATASETS: &str = "/apis/sedge.dev/v1alpha1/namespaces/default/datasets";

async fn declare(manager: &Manager, name: &str, node: &str) {
    let spec = json!({"node": node, "path": name, "format": "csv", "label": "label"});
    let datasets: Api<Dataset> = Api::default_namespaced(manager.client());
    datasets.create(&PostParams::default(), &resource("Dataset", name, spec)).await.unwrap();
}

/// A node's end of a transfer.
struct End {
    up: mpsc::Sender<NodePiece>,
    down: Streaming<ManagerPiece>,
}

impl End {
    async fn dial(manager: &Manager, token: &str, id: &str) -> Result<Self, tonic::Status> {
        let mut client = HubClient::connect(format!("http://{}", manager.node_address())).await.unwrap();
        let (up, pieces) = mpsc::channel(16);
        up.send(NodePiece { piece: Some(node_piece::Piece::Id(id.to_owned())) }).await.unwrap();
        let mut request = tonic::Request::new(ReceiverStream::new(pieces));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        Ok(Self { up, down: client.transfer(request).await?.into_inner() })
    }

    async fn say(&self, piece: node_piece::Piece) {
        self.up.send(NodePiece { piece: Some(piece) }).await.unwrap();
    }

    async fn answer(&self, answer: TransferAnswer) {
        self.say(node_piece::Piece::Answer(answer)).await;
    }

    /// What is brought, and whether it is whole.
    async fn bytes(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        while let Ok(Some(piece)) = self.down.message().await {
            match piece.piece {
                Some(manager_piece::Piece::Bytes(piece)) => bytes.extend(piece),
                Some(manager_piece::Piece::End(_)) => return (bytes, true),
                None => break,
            }
        }
        (bytes, false)
    }
}

impl End {
    /// Until the manager has heard it all.
    async fn close(self) {
        let Self { up, mut down } = self;
        drop(up);
        while let Ok(Some(_)) = down.message().await {}
    }
}

async fn heard(node: &mut Node, manager: &Manager) -> (TransferRequest, End) {
    let request = node.transfer_request().await;
    let end = End::dial(manager, manager.join_token(), &request.id).await.unwrap();
    (request, end)
}

async fn ask(manager: &Manager, request: http::request::Builder, body: Vec<u8>) -> (u16, Vec<u8>) {
    let kubeconfig = Kubeconfig::from_yaml(&manager.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    let client = Client::try_from(config).unwrap();
    // Of an answer that breaks off early, there may not even be a beginning.
    let Ok(answer) = client.send(request.body(Body::from(body)).unwrap()).await else {
        return (0, Vec::new());
    };
    let status = answer.status().as_u16();
    (status, answer.into_body().collect_bytes().await.map(|bytes| bytes.to_vec()).unwrap_or_default())
}

/// A request that is written by hand, and the connection.
async fn begin(manager: &Manager, path: &str, length: u64, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(manager.address()).await.unwrap();
    let request = format!(
        "POST {DATASETS}/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nauthorization: Bearer {}\r\n\r\n{body}",
        manager.api_token()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

fn message(body: &[u8]) -> String {
    let status: Value = serde_json::from_slice(body).unwrap();
    status["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_leave_a_node_in_the_layout_of_another_dataset() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    let mut holder = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    let mut other = Node::dial(&manager, "edge-2", NodeRole::Edge).await;
    declare(&manager, "hard", "edge-1").await;
    declare(&manager, "stream", "edge-2").await;
    let get = http::Request::get(format!("{DATASETS}/hard/samples?format=csv&like=stream&limit=7"));
    let nodes = async {
        let (request, end) = heard(&mut other, &manager).await;
        assert_eq!(
            (request.dataset.as_str(), &request.what),
            ("default/stream", &Some(What::Layout(Default::default())))
        );
        end.answer(TransferAnswer::default()).await;
        end.say(node_piece::Piece::Bytes(b"{\"a\":".to_vec())).await;
        end.say(node_piece::Piece::Bytes(b"1}".to_vec())).await;
        end.close().await;
        let (request, end) = heard(&mut holder, &manager).await;
        let Some(What::Samples(wanted)) = request.what else { panic!("{request:?}") };
        assert_eq!((wanted.like.as_str(), wanted.latest), ("{\"a\":1}", 7));
        end.answer(TransferAnswer { bytes: 6, samples: 1, ..TransferAnswer::default() }).await;
        end.say(node_piece::Piece::Bytes(b"one".to_vec())).await;
        end.say(node_piece::Piece::Bytes(b"two".to_vec())).await;
        end.close().await;
    };
    let (answered, ()) = tokio::join!(ask(&manager, get, Vec::new()), nodes);
    assert_eq!(answered, (200, b"onetwo".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_labelled_file_comes_to_its_node_whole_and_its_answer_back() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    let mut node = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    declare(&manager, "stream", "edge-1").await;
    let post = |query: &str| http::Request::post(format!("{DATASETS}/stream/labelled?{query}"));
    let content = vec![7; 3 << 20];
    let taking = async {
        let (request, mut end) = heard(&mut node, &manager).await;
        let Some(What::Labelled(labelled)) = request.what else { panic!("{request:?}") };
        assert_eq!((labelled.shown.as_str(), labelled.new_labels), ("a b.csv", true));
        assert_eq!(end.bytes().await, (content.clone(), true));
        end.answer(TransferAnswer { samples: 5, taken: 3, unlabelled: 2, ..TransferAnswer::default() }).await;
        end.close().await;
    };
    let sending = ask(&manager, post("format=csv&newLabels=true&file=a%20b.csv"), content.clone());
    let ((status, body), ()) = tokio::join!(sending, taking);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status, &answer["taken"], &answer["unlabelled"], &answer["node"]),
        (200, &3.into(), &2.into(), &"edge-1".into())
    );

    // A node that has seen enough.
    let refusing = async {
        let (_, end) = heard(&mut node, &manager).await;
        let answer = TransferAnswer {
            reason: "Malformed".to_owned(),
            message: "a.csv:3: no".to_owned(),
            ..TransferAnswer::default()
        };
        end.answer(answer).await;
        end.close().await;
    };
    let ((status, body), ()) = tokio::join!(ask(&manager, post("format=csv"), content), refusing);
    assert_eq!((status, message(&body).as_str()), (422, "a.csv:3: no"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    declare(&manager, "away", "edge-9").await;
    let get = |path: &str| http::Request::get(format!("{DATASETS}/{path}"));
    for (path, status, why) in [
        ("nobody/samples?format=csv", 404, "\"nobody\" not found"),
        ("..%2F..%2Faway/samples?format=csv", 404, "not found"),
        ("away/samples?format=csv", 503, "node `edge-9`, which holds the dataset, is not in touch"),
        ("away/samples?format=csv&like=..%2Fx", 404, "not found"),
        ("away/samples?format=exe", 400, "unknown variant"),
        ("away/samples", 400, "missing field `format`"),
    ] {
        let (found, body) = ask(&manager, get(path), Vec::new()).await;
        assert_eq!(found, status, "{path}: {}", String::from_utf8_lossy(&body));
        assert!(message(&body).contains(why), "{path}: {}", message(&body));
    }
    // Nobody need have read it to know that it is too large.
    let mut socket = begin(&manager, "away/labelled?format=csv", MAX_TRANSFER_BYTES + 1, "").await;
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    // A transfer that nobody waits for, and one without the token.
    let guess = End::dial(&manager, manager.join_token(), "guess").await.err().unwrap();
    assert_eq!(guess.code(), tonic::Code::NotFound);
    let stranger = End::dial(&manager, "wrong", "guess").await.err().unwrap();
    assert_eq!(stranger.code(), tonic::Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_is_never_taken_for_whole() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    let mut node = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    declare(&manager, "stream", "edge-1").await;
    // To the node: whoever sends it hangs up.
    let socket = begin(&manager, "stream/labelled?format=csv", 10, "half").await;
    let (_, mut end) = heard(&mut node, &manager).await;
    drop(socket);
    assert!(!end.bytes().await.1);
    drop(end);
    // From the node: it ends before all that it said.
    let get = http::Request::get(format!("{DATASETS}/stream/samples?format=csv"));
    let breaking = async {
        let (_, end) = heard(&mut node, &manager).await;
        end.answer(TransferAnswer { bytes: 1000, ..TransferAnswer::default() }).await;
        end.say(node_piece::Piece::Bytes(b"half".to_vec())).await;
        end.close().await;
    };
    let ((_, body), ()) = tokio::join!(ask(&manager, get, Vec::new()), breaking);
    assert_eq!(body, b"", "a body that is cut off is an error for its reader");
}
