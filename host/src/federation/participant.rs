//! A trainer or evaluator in the rounds that another node leads: it dials, does what it is told, answers.
//!
//! [`crate::worker`] runs one to its end. A lost link is dialled again with backoff and jitter; the aggregating
//! node then repeats what it still wants.

use std::time::Duration;

use sedge_api::federation::aggregator_message::Message as Down;
use sedge_api::federation::participant_message::Message as Up;
use sedge_api::federation::{
    AggregatorMessage, Failure, Hello, PROTOCOL, ParticipantMessage, ParticipantRole, Report, Update,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Endpoint;

use super::frames::{self, Inbound};
use super::payload::{Incoming, Payload};
use super::{FRAME, KEEP_ALIVE, WINDOW, to_wire};
use crate::link::backoff::Backoff;
use crate::model::Weights;
use crate::nn::Spares;
use crate::runtime::{self, Evaluator, Reason, Trainer};
use crate::worker::{Ended, Reporter};

/// Messages that wait for the link; chunks are shared with the update they are cut from.
const OUTBOX: usize = 4;
/// How long the last words may take to be heard.
const FAREWELL: Duration = Duration::from_secs(5);

/// The plugin that does the work.
#[derive(Clone)]
pub(crate) enum Work {
    Train(Trainer),
    Evaluate(Evaluator),
}

/// One worker's part in the rounds.
pub(crate) struct Participant {
    pub(crate) work: Work,
    /// Where the aggregating node listens.
    pub(crate) endpoint: String,
    pub(crate) token: String,
    pub(crate) job_uid: String,
    pub(crate) worker: String,
    pub(crate) node: String,
    /// Weights that do not fit into this are not taken.
    pub(crate) memory_bytes: u64,
    pub(crate) reporter: Reporter,
    pub(crate) cancel: CancellationToken,
}

/// How a session came to its end.
enum Left {
    /// The job is over.
    Finished,
    /// Try again.
    Lost(String),
}

type Outbound = mpsc::Sender<ParticipantMessage>;

impl Participant {
    /// Until the job is over, this worker fails, or it is cancelled.
    pub(crate) async fn run(self) -> Result<(), Ended> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        self.waiting("the aggregator has not been reached yet");
        loop {
            let (mut joined, dialled) = (false, Instant::now());
            let left = tokio::select! {
                () = self.cancel.cancelled() => return Err(Ended::Cancelled),
                left = self.session(&mut joined) => left?,
            };
            let Left::Lost(why) = left else { return Ok(()) };
            if joined {
                backoff.after(dialled.elapsed());
            }
            self.waiting(&why);
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Ended::Cancelled),
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    fn waiting(&self, why: &str) {
        tracing::debug!(worker = self.worker, why, "not in the federation");
        self.reporter.update(|status| {
            status.reason = "WaitingForAggregator".to_owned();
            status.message = why.to_owned();
        });
    }

    fn hello(&self) -> Hello {
        let role = match self.work {
            Work::Train(_) => ParticipantRole::Trainer,
            Work::Evaluate(_) => ParticipantRole::Evaluator,
        };
        Hello {
            protocol: PROTOCOL,
            job_uid: self.job_uid.clone(),
            worker: self.worker.clone(),
            node: self.node.clone(),
            role: role.into(),
            token: self.token.clone(),
        }
    }

    async fn session(&self, joined: &mut bool) -> Result<Left, Ended> {
        let endpoint = match endpoint(&self.endpoint) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let message = format!("the aggregator's endpoint `{}`: {error}", self.endpoint);
                return Err(Ended::failed("InvalidDefinition", message));
            }
        };
        let channel = match endpoint.connect().await {
            Ok(channel) => channel,
            Err(error) => return Ok(Left::Lost(format!("{} does not answer: {error}", self.endpoint))),
        };
        let (outbound, messages) = mpsc::channel(OUTBOX);
        // The channel is empty and holds `OUTBOX` messages.
        let _ = outbound.try_send(ParticipantMessage { message: Some(Up::Hello(self.hello())) });
        match frames::join(channel, ReceiverStream::new(messages)).await {
            Ok(inbound) => self.converse(inbound, outbound, joined).await,
            Err(status) => refused(&status),
        }
    }

    async fn converse(
        &self,
        mut inbound: Inbound<AggregatorMessage>,
        outbound: Outbound,
        joined: &mut bool,
    ) -> Result<Left, Ended> {
        let mut session =
            Session { receiving: None, spares: Spares::new(1), task: JoinSet::new(), grant: None };
        loop {
            tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(AggregatorMessage { message: Some(Down::Finished(_)) })) => return Ok(Left::Finished),
                    Ok(Some(AggregatorMessage { message: Some(Down::Accepted(_)) })) => {
                        *joined = true;
                        self.reporter.update(|status| {
                            status.reason.clear();
                            status.message.clear();
                        });
                    }
                    Ok(Some(AggregatorMessage { message: Some(message) })) => {
                        if let Err(why) = self.hear(message, &mut session, &outbound)? {
                            return Ok(Left::Lost(why));
                        }
                    }
                    Ok(Some(AggregatorMessage { message: None })) => {}
                    Ok(None) => return Ok(Left::Lost("the aggregator ended the session".to_owned())),
                    Err(status) => return refused(&status),
                },
                // An aborted task has nothing to say.
                Some(done) = session.task.join_next() => if let Ok(Some(failed)) = done {
                    let last = failed.is_last();
                    let _ = say(&outbound, Up::Failure(failed.words())).await;
                    if last {
                        drop(outbound);
                        say_goodbye(inbound).await;
                        return Err(failed.failure.into());
                    }
                },
            }
        }
    }

    /// Outer error: this worker is at its end. Inner: this session is.
    fn hear(
        &self,
        message: Down,
        session: &mut Session,
        outbound: &Outbound,
    ) -> Result<Result<(), String>, Ended> {
        match message {
            Down::Train(train) => {
                let order =
                    Ordered { evaluate: false, round: train.round, deadline: after(train.deadline_millis) };
                session.announced(order, train.bytes, self.memory_bytes)?;
            }
            Down::Evaluate(evaluate) => {
                let deadline = after(evaluate.deadline_millis);
                let order = Ordered { evaluate: true, round: evaluate.round, deadline };
                session.announced(order, evaluate.bytes, self.memory_bytes)?;
            }
            Down::Chunk(chunk) => {
                if let Some((_, incoming)) = &mut session.receiving
                    && let Err(error) = incoming.push(&chunk)
                {
                    return Ok(Err(error.to_string()));
                }
            }
            Down::Checksum(checksum) => {
                if let Some((order, incoming)) = session.receiving.take() {
                    let weights = match incoming.finish(checksum) {
                        Ok(buffer) => Weights::from_buffer(buffer).map_err(|error| error.to_string()),
                        Err(error) => Err(error.to_string()),
                    };
                    match weights {
                        Ok(weights) => self.start(order, weights, session, outbound),
                        Err(why) => return Ok(Err(format!("the aggregator's weights: {why}"))),
                    }
                }
            }
            Down::Grant(grant) => {
                if let Some((_, granted)) = session.grant.take_if(|(round, _)| *round == grant.round) {
                    // Work that has ended needs none.
                    let _ = granted.send(());
                }
            }
            Down::Rejected(rejected) => {
                let line =
                    format!("round {}: the aggregator rejected it: {}", rejected.round, rejected.reason);
                self.reporter.line(&line);
            }
            Down::Accepted(_) | Down::Finished(_) => {}
        }
        Ok(Ok(()))
    }

    /// Do the work beside the session, which goes on listening.
    fn start(&self, order: Ordered, weights: Weights, session: &mut Session, outbound: &Outbound) {
        let (work, outbound, reporter) = (self.work.clone(), outbound.clone(), self.reporter.clone());
        reporter.set_deadline(order.deadline);
        let (grant, granted) = oneshot::channel();
        session.grant = Some((order.round, grant));
        session.task.spawn(async move {
            let done = match (&work, order.evaluate) {
                (Work::Train(trainer), false) => {
                    train(trainer, order.round, weights, &outbound, granted, &reporter).await
                }
                (Work::Evaluate(evaluator), true) => {
                    evaluate(evaluator, order.round, weights, &outbound, &reporter).await
                }
                _ => Err(runtime::Failure {
                    reason: Reason::HostError,
                    message: "this worker's role does not do that work".to_owned(),
                }),
            };
            let failure = done.err()?;
            reporter.line(&format!("round {}: {}: {}", order.round, failure.reason, failure.message));
            Some(Failed { round: order.round, failure })
        });
    }
}

/// What the aggregator wants done.
#[derive(Debug, Clone, Copy)]
struct Ordered {
    evaluate: bool,
    round: u32,
    deadline: Instant,
}

/// What a session has under way; dropped with it.
struct Session {
    receiving: Option<(Ordered, Incoming)>,
    /// Memory of the last round's weights, for the next one's.
    spares: Spares,
    task: JoinSet<Option<Failed>>,
    /// What the work on this round waits for before it sends its weights.
    grant: Option<(u32, oneshot::Sender<()>)>,
}

/// Work that ended badly. The session says so, and not the task itself: what the aggregator answers must not
/// come before the session knows why.
struct Failed {
    round: u32,
    failure: runtime::Failure,
}

impl Failed {
    /// Whether the plugin would fail again in every later round.
    fn is_last(&self) -> bool {
        !matches!(self.failure.reason, Reason::HostError | Reason::Cancelled)
    }

    fn words(&self) -> Failure {
        let (reason, message) = (self.failure.reason.to_string(), self.failure.message.clone());
        Failure { round: self.round, reason, message, r#final: self.is_last() }
    }
}

impl Session {
    /// A new order ends the work on the last one.
    fn announced(&mut self, order: Ordered, bytes: u64, memory: u64) -> Result<(), Ended> {
        self.task.abort_all();
        let incoming = Incoming::new(bytes, 8, memory, &self.spares).map_err(|_| {
            let message = format!("the weights have {bytes} bytes; this worker may use {memory}");
            Ended::failed("OutOfMemory", message)
        })?;
        self.receiving = Some((order, incoming));
        Ok(())
    }
}

fn after(millis: u64) -> Instant {
    // No deadline is further away than the longest period of a resource, a year.
    Instant::now() + Duration::from_millis(millis.min(365 * 24 * 3_600_000))
}

async fn say(outbound: &Outbound, message: Up) -> Result<(), runtime::Failure> {
    outbound.send(ParticipantMessage { message: Some(message) }).await.map_err(|_| lost())
}

fn lost() -> runtime::Failure {
    let message = "the link to the aggregator is lost".to_owned();
    runtime::Failure { reason: Reason::Cancelled, message }
}

async fn train(
    trainer: &Trainer,
    round: u32,
    start: Weights,
    outbound: &Outbound,
    granted: oneshot::Receiver<()>,
    reporter: &Reporter,
) -> Result<(), runtime::Failure> {
    let update = trainer.train(round, start).await?;
    let metrics = to_wire(&update.metrics);
    reporter.update(|status| status.metrics.clone_from(&metrics));
    let payload = Payload::of(update.weights).await.ok_or_else(|| runtime::Failure {
        reason: Reason::HostError,
        message: "the update could not be written as safetensors".to_owned(),
    })?;
    let header = Update { round, samples: update.samples, metrics, bytes: payload.len() };
    say(outbound, Up::Update(header)).await?;
    granted.await.map_err(|_| lost())?;
    for chunk in payload.chunks() {
        say(outbound, Up::Chunk(chunk)).await?;
    }
    say(outbound, Up::Checksum(payload.checksum())).await
}

async fn evaluate(
    evaluator: &Evaluator,
    round: u32,
    candidate: Weights,
    outbound: &Outbound,
    reporter: &Reporter,
) -> Result<(), runtime::Failure> {
    let report = evaluator.evaluate(candidate).await?;
    let metrics = to_wire(&report.metrics);
    reporter.update(|status| status.metrics.clone_from(&metrics));
    say(outbound, Up::Report(Report { round, samples: report.samples, metrics })).await
}

/// What a status of the aggregating node means for this worker.
fn refused(status: &tonic::Status) -> Result<Left, Ended> {
    let message = format!("the aggregator says: {}", status.message());
    match status.code() {
        Code::Unauthenticated => Err(Ended::failed("Unauthenticated", message)),
        Code::FailedPrecondition => Err(Ended::failed("JobFailed", message)),
        _ => Ok(Left::Lost(message)),
    }
}

/// Our side of the stream is closed: wait for the other to be, so that the last words are not cut off.
async fn say_goodbye(mut inbound: Inbound<AggregatorMessage>) {
    let drained = async { while let Ok(Some(_)) = inbound.message().await {} };
    let _ = tokio::time::timeout(FAREWELL, drained).await;
}

fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(address.to_owned())?
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true))
}
