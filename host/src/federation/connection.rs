//! One participant as the aggregating node has it: a reader and a writer over its stream.
//!
//! The writer sends the latest [`Order`] of [`super::aggregation`]; a newer one cuts an older one short. The
//! reader turns what comes into [`Event`]s. A payload is read only with one of a few permits: those that
//! have none are held back by HTTP/2 flow control, so memory does not grow with participants.

use std::sync::Arc;

use sedge_api::federation::aggregator_message::Message as Down;
use sedge_api::federation::participant_message::Message as Up;
use sedge_api::federation::{
    AggregatorMessage, Evaluate, Finished, ParticipantMessage, Rejected, Train, Update,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::payload::{Incoming, Payload, SLACK};
use super::{from_wire, transfer_time};
use crate::nn::Buffer;
use crate::runtime::Metric;

/// Tells apart the connections of one participant that lost its link.
pub(super) type SeatId = u64;

/// What a participant is to do.
#[derive(Clone)]
pub(super) enum Order {
    /// Nothing yet.
    Rest,
    /// Train or evaluate from these weights.
    Work(Arc<Work>),
    /// The job is over.
    Finish {
        /// Rounds closed.
        rounds: u32,
    },
}

/// One round's work for one role; shared by all who do it.
pub(super) struct Work {
    pub(super) kind: Kind,
    pub(super) round: u32,
    pub(super) rounds: u32,
    pub(super) deadline: Instant,
    pub(super) payload: Payload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Train,
    Evaluate,
}

/// What a participant said or did.
pub(super) enum Event {
    /// A whole update, its digest verified. The permit is held until it is folded.
    Update {
        round: u32,
        samples: u64,
        metrics: Vec<Metric>,
        safetensors: Buffer,
        permit: OwnedSemaphorePermit,
    },
    /// An update that is not what it should be.
    Refused { round: u32, why: String },
    /// An evaluator's answer.
    Report { round: u32, samples: u64, metrics: Vec<Metric> },
    /// The participant cannot do this round; `last`: nor any other.
    Failure { round: u32, reason: String, message: String, last: bool },
    /// The link is lost or was ended.
    Left,
}

/// What a connection needs.
pub(super) struct Connection {
    pub(super) id: SeatId,
    pub(super) inbound: Streaming<ParticipantMessage>,
    pub(super) outbound: mpsc::Sender<Result<AggregatorMessage, Status>>,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) events: mpsc::Sender<(SeatId, Event)>,
    /// Payloads that may be received at once, over all connections.
    pub(super) permits: Arc<Semaphore>,
    pub(super) cancel: CancellationToken,
}

impl Connection {
    /// Until the link is lost, the job is over, or `cancel`.
    pub(super) async fn run(self) {
        let Self { id, inbound, outbound, orders, events, permits, cancel } = self;
        let writer = write(orders.clone(), outbound.clone());
        let reader =
            Reader { id, inbound, outbound, orders, events: events.clone(), permits, receiving: None };
        tokio::select! {
            () = writer => {}
            () = reader.run() => {}
            () = cancel.cancelled() => {}
        }
        // Err: the aggregation has ended and does not want to know.
        let _ = events.send((id, Event::Left)).await;
    }
}

type Outbound = mpsc::Sender<Result<AggregatorMessage, Status>>;

async fn say(outbound: &Outbound, message: Down) -> Result<(), Closed> {
    outbound.send(Ok(AggregatorMessage { message: Some(message) })).await.map_err(|_| Closed)
}

/// The participant's end of the stream is gone.
struct Closed;

/// Send each order, the latest first; returns when the link is lost or after `Finish`.
async fn write(mut orders: watch::Receiver<Order>, outbound: Outbound) {
    loop {
        let order = orders.borrow_and_update().clone();
        let sent = match order {
            Order::Rest => Ok(()),
            Order::Work(work) => send_work(&work, &orders, &outbound).await,
            Order::Finish { rounds } => {
                let reason = "Finished".to_owned();
                let _ = say(&outbound, Down::Finished(Finished { rounds, reason })).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            () = outbound.closed() => return,
        }
    }
}

/// Header, chunks and digest; a newer order ends it early, and its header begins anew at the other side.
async fn send_work(work: &Work, orders: &watch::Receiver<Order>, outbound: &Outbound) -> Result<(), Closed> {
    let (round, rounds, bytes) = (work.round, work.rounds, work.payload.len());
    let left = work.deadline.saturating_duration_since(Instant::now());
    let deadline_millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let header = match work.kind {
        Kind::Train => Down::Train(Train { round, rounds, deadline_millis, bytes }),
        Kind::Evaluate => Down::Evaluate(Evaluate { round, deadline_millis, bytes }),
    };
    say(outbound, header).await?;
    for chunk in work.payload.chunks() {
        if orders.has_changed().unwrap_or(true) {
            return Ok(());
        }
        say(outbound, Down::Chunk(chunk)).await?;
    }
    say(outbound, Down::Digest(work.payload.digest())).await
}

/// An update on its way in.
struct Receiving {
    header: Update,
    incoming: Incoming,
    permit: OwnedSemaphorePermit,
    until: Instant,
}

struct Reader {
    id: SeatId,
    inbound: Streaming<ParticipantMessage>,
    outbound: Outbound,
    orders: watch::Receiver<Order>,
    events: mpsc::Sender<(SeatId, Event)>,
    permits: Arc<Semaphore>,
    /// None: chunks that come are of an update that was turned away, and are dropped as they come.
    receiving: Option<Receiving>,
}

impl Reader {
    /// Until the link is lost or the aggregation has ended.
    async fn run(mut self) {
        while let Ok(()) = self.step().await {}
    }

    async fn step(&mut self) -> Result<(), Closed> {
        let until = self.receiving.as_ref().map(|receiving| receiving.until);
        tokio::select! {
            message = self.inbound.message() => {
                let message = message.ok().flatten().and_then(|message| message.message).ok_or(Closed)?;
                self.hear(message).await
            }
            changed = self.orders.changed() => {
                changed.map_err(|_| Closed)?;
                if let Some(receiving) = &self.receiving && self.wanted(receiving.header.round).is_none() {
                    let round = receiving.header.round;
                    self.receiving = None;
                    self.reject(round, "the round has closed").await?;
                }
                Ok(())
            }
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                let round = self.receiving.take().map_or(0, |receiving| receiving.header.round);
                self.refuse(round, "its weights came too slowly".to_owned()).await
            }
        }
    }

    async fn hear(&mut self, message: Up) -> Result<(), Closed> {
        match message {
            Up::Update(header) => self.announced(header).await,
            Up::Chunk(chunk) => match &mut self.receiving {
                Some(receiving) => match receiving.incoming.push(&chunk) {
                    Ok(()) => Ok(()),
                    Err(error) => {
                        let round = receiving.header.round;
                        self.receiving = None;
                        self.refuse(round, error.to_string()).await
                    }
                },
                None => Ok(()),
            },
            Up::Digest(digest) => match self.receiving.take() {
                Some(Receiving { header, incoming, permit, .. }) => match incoming.finish(&digest) {
                    Ok(safetensors) => {
                        let Update { round, samples, metrics, .. } = header;
                        let metrics = from_wire(metrics);
                        self.tell(Event::Update { round, samples, metrics, safetensors, permit }).await
                    }
                    Err(error) => self.refuse(header.round, error.to_string()).await,
                },
                None => Ok(()),
            },
            Up::Report(report) => {
                let (round, samples, metrics) = (report.round, report.samples, from_wire(report.metrics));
                self.tell(Event::Report { round, samples, metrics }).await
            }
            Up::Failure(failure) => {
                let cut = |text: String, limit: usize| text.chars().take(limit).collect();
                let (reason, message) = (cut(failure.reason, 64), cut(failure.message, 1024));
                self.tell(Event::Failure { round: failure.round, reason, message, last: failure.r#final })
                    .await
            }
            // Said once, before this connection began.
            Up::Hello(_) => Err(Closed),
        }
    }

    /// The length that an update for `round` must have, if that round's updates are wanted.
    fn wanted(&self, round: u32) -> Option<u64> {
        match &*self.orders.borrow() {
            Order::Work(work) if work.kind == Kind::Train && work.round == round => Some(work.payload.len()),
            _ => None,
        }
    }

    async fn announced(&mut self, header: Update) -> Result<(), Closed> {
        // An update that was not finished is given up by the one that follows it.
        self.receiving = None;
        let Some(length) = self.wanted(header.round) else {
            return self.reject(header.round, "the round has closed").await;
        };
        if header.samples == 0 {
            return self.refuse(header.round, "it rests on no samples".to_owned()).await;
        }
        let (least, most) = (length.saturating_sub(SLACK), length.saturating_add(SLACK));
        let permit = loop {
            tokio::select! {
                permit = Arc::clone(&self.permits).acquire_owned() => break permit.map_err(|_| Closed)?,
                changed = self.orders.changed() => {
                    changed.map_err(|_| Closed)?;
                    if self.wanted(header.round).is_none() {
                        return self.reject(header.round, "the round has closed").await;
                    }
                }
            }
        };
        match Incoming::new(header.bytes, least, most) {
            Ok(incoming) => {
                let until = Instant::now() + transfer_time(header.bytes);
                self.receiving = Some(Receiving { header, incoming, permit, until });
                Ok(())
            }
            Err(error) => self.refuse(header.round, error.to_string()).await,
        }
    }

    async fn tell(&self, event: Event) -> Result<(), Closed> {
        self.events.send((self.id, event)).await.map_err(|_| Closed)
    }

    async fn refuse(&self, round: u32, why: String) -> Result<(), Closed> {
        self.reject(round, &why).await?;
        self.tell(Event::Refused { round, why }).await
    }

    async fn reject(&self, round: u32, why: &str) -> Result<(), Closed> {
        say(&self.outbound, Down::Rejected(Rejected { round, reason: why.to_owned() })).await
    }
}
