//! Answers the manager's requests for samples, and takes those that are brought: each over a stream that is dialled for it.

use std::sync::Arc;

use sedge_api::node::hub_client::HubClient;
use sedge_api::node::node_piece::Piece;
use sedge_api::node::transfer_request::What;
use sedge_api::node::{
    Labelled, ManagerPiece, NodePiece, TRANSFER_PIECE, TransferAnswer, TransferRequest, manager_piece,
};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::labelling::{Desk, Received, Refusal, Wanted, form};

/// Requests that are answered at once; a manager makes no more.
const AT_ONCE: usize = 4;
/// Pieces that wait for the link.
const PIECES: usize = 4;

/// The transfers of one session; dropped with it, which ends them.
pub(super) struct Transfers {
    client: HubClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
    desk: Arc<Desk>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    session: CancellationToken,
    _end: DropGuard,
}

impl Transfers {
    pub(super) fn new(
        client: HubClient<Channel>,
        authorization: Option<MetadataValue<Ascii>>,
        desk: Arc<Desk>,
    ) -> Self {
        let session = CancellationToken::new();
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let end = session.clone().drop_guard();
        Self { client, authorization, desk, permits, tasks: TaskTracker::new(), session, _end: end }
    }

    /// Begin one.
    pub(super) fn hear(&self, request: TransferRequest) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            tracing::warn!(
                dataset = request.dataset,
                "more transfers at once than a manager makes; one is left out"
            );
            return;
        };
        let transfer =
            transfer(self.client.clone(), self.authorization.clone(), Arc::clone(&self.desk), request);
        let session = self.session.clone();
        self.tasks.spawn(async move {
            if let Some(Err(error)) = session.run_until_cancelled(transfer).await {
                tracing::debug!(error, "a transfer ended early");
            }
            drop(permit);
        });
    }
}

/// Pieces on their way to the manager.
struct Up(mpsc::Sender<NodePiece>);

impl Up {
    async fn say(&self, piece: Piece) -> Result<(), String> {
        let said = self.0.send(NodePiece { piece: Some(piece) }).await;
        said.map_err(|_| "the manager has hung up".to_owned())
    }
}

async fn transfer(
    mut client: HubClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
    desk: Arc<Desk>,
    request: TransferRequest,
) -> Result<(), String> {
    let (up, pieces) = mpsc::channel(PIECES);
    let up = Up(up);
    up.say(Piece::Id(request.id)).await?;
    let mut dial = Request::new(ReceiverStream::new(pieces));
    if let Some(authorization) = authorization {
        dial.metadata_mut().insert("authorization", authorization);
    }
    let mut down = client.transfer(dial).await.map_err(|status| status.message().to_owned())?.into_inner();
    let answered = answer(&desk, &request.dataset, request.what, &up, &mut down).await;
    drop(up);
    // Until the manager has read it all and hangs up: a stream that is let go before is cut off in both directions. What it
    // still sends, not knowing of a refusal yet, is let go.
    while let Ok(Some(_)) = down.message().await {}
    answered
}

async fn answer(
    desk: &Desk,
    dataset: &str,
    what: Option<What>,
    up: &Up,
    down: &mut Streaming<ManagerPiece>,
) -> Result<(), String> {
    match what {
        Some(What::Layout(_)) => match desk.layout(dataset).await {
            Ok(layout) => {
                let bytes = layout.len() as u64;
                up.say(Piece::Answer(TransferAnswer { bytes, ..TransferAnswer::default() })).await?;
                for piece in layout.as_bytes().chunks(TRANSFER_PIECE) {
                    up.say(Piece::Bytes(piece.to_vec())).await?;
                }
                Ok(())
            }
            Err(refusal) => up.say(refused(refusal)).await,
        },
        Some(What::Samples(wanted)) => {
            let made = match form(wanted.form()) {
                Ok(form) => {
                    let wanted = Wanted { form, like: wanted.like, latest: wanted.latest };
                    desk.export(dataset, wanted).await
                }
                Err(refusal) => Err(refusal),
            };
            match made {
                Ok((made, answer)) => {
                    up.say(Piece::Answer(answer)).await?;
                    send(up, made.file.try_clone().map_err(|error| error.to_string())?, made.bytes).await
                }
                Err(refusal) => up.say(refused(refusal)).await,
            }
        }
        Some(What::Labelled(labelled)) => match take(desk, dataset, labelled, down).await? {
            Ok(answer) => up.say(Piece::Answer(answer)).await,
            Err(refusal) => up.say(refused(refusal)).await,
        },
        None => {
            up.say(refused(Refusal::new("Unsupported", "this node does not know what is asked of it"))).await
        }
    }
}

fn refused(refusal: Refusal) -> Piece {
    let Refusal { reason, message } = refusal;
    Piece::Answer(TransferAnswer { reason: reason.to_owned(), message, ..TransferAnswer::default() })
}

async fn send(up: &Up, file: std::fs::File, bytes: u64) -> Result<(), String> {
    let mut file = tokio::fs::File::from_std(file).take(bytes);
    loop {
        let mut piece = Vec::with_capacity(TRANSFER_PIECE);
        let mut part = (&mut file).take(TRANSFER_PIECE as u64);
        match part.read_to_end(&mut piece).await {
            Ok(0) => return Ok(()),
            Ok(_) => up.say(Piece::Bytes(piece)).await?,
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A file that is brought. Err: it did not come whole, and nobody waits for an answer.
async fn take(
    desk: &Desk,
    dataset: &str,
    labelled: Labelled,
    down: &mut Streaming<ManagerPiece>,
) -> Result<Result<TransferAnswer, Refusal>, String> {
    let (form, mut received) = match form(labelled.form()).and_then(|form| Ok((form, desk.receive()?))) {
        Ok(begun) => begun,
        Err(refusal) => return Ok(Err(refusal)),
    };
    loop {
        let piece = down.message().await.map_err(|status| status.message().to_owned())?;
        match piece.and_then(|piece| piece.piece) {
            Some(manager_piece::Piece::Bytes(bytes)) => {
                if let Err(refusal) = Received::take(&mut received, &bytes).await {
                    return Ok(Err(refusal));
                }
            }
            Some(manager_piece::Piece::End(_)) => break,
            None => return Err("the file did not come whole".to_owned()),
        }
    }
    Ok(desk.import(dataset, received, form, labelled.shown, labelled.new_labels).await)
}
