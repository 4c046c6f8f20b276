//! One participant as the aggregating node has it: a reader and a writer over its stream.
//!
//! The writer sends the latest [`Order`] of [`super::aggregation`]; a newer one cuts an older one short. The
//! reader turns what comes into [`Event`]s. A payload is asked for only with one of a few permits, so memory
//! does not grow with participants; one that is sent without being asked for waits in HTTP/2 flow control.

use std::sync::Arc;
use std::time::Duration;

use sedge_api::federation::aggregator_message::Message as Down;
use sedge_api::federation::participant_message::Message as Up;
use sedge_api::federation::{
    AggregatorMessage, Evaluate, Finished, Grant, ParticipantMessage, Rejected, Train, Update,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::frames::Inbound;
use super::payload::{Incoming, Payload, SLACK};
use super::{from_wire, transfer_time};
use crate::nn::{Buffer, Spares};
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
    /// A whole update, its checksum verified. The permit is held until it is folded.
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
    pub(super) inbound: Inbound<ParticipantMessage>,
    pub(super) outbound: mpsc::Sender<Result<AggregatorMessage, Status>>,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) events: mpsc::Sender<(SeatId, Event)>,
    /// Payloads that may be received at once, over all connections.
    pub(super) permits: Arc<Semaphore>,
    /// Memory for them.
    pub(super) spares: Spares,
    /// How long nothing may come of a payload before its permit is given to another.
    pub(super) silence: Duration,
    pub(super) cancel: CancellationToken,
}

impl Connection {
    /// Until the link is lost, the job is over, or `cancel`.
    pub(super) async fn run(self) {
        let Self { id, inbound, outbound, orders, events, permits, spares, silence, cancel } = self;
        let writer = write(orders.clone(), outbound.clone());
        let reader = Reader {
            id,
            inbound,
            outbound,
            orders,
            events: events.clone(),
            permits,
            spares,
            silence,
            receiving: None,
        };
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

/// Why an update is not taken that comes too late.
const CLOSED: &str = "the round has closed";

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

/// Header, chunks and checksum; a newer order ends it early, and its header begins anew at the other side.
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
    say(outbound, Down::Checksum(work.payload.checksum())).await
}

/// An update on its way in.
struct Receiving {
    header: Update,
    /// What it answers.
    work: Arc<Work>,
    incoming: Incoming,
    permit: OwnedSemaphorePermit,
    /// All of it must be there by then.
    until: Instant,
    /// Something more of it must be there by then.
    silent_until: Instant,
}

struct Reader {
    id: SeatId,
    inbound: Inbound<ParticipantMessage>,
    outbound: Outbound,
    orders: watch::Receiver<Order>,
    events: mpsc::Sender<(SeatId, Event)>,
    permits: Arc<Semaphore>,
    spares: Spares,
    silence: Duration,
    /// None: chunks that come are of an update that was turned away, and are dropped as they come.
    receiving: Option<Receiving>,
}

impl Reader {
    /// Until the link is lost or the aggregation has ended.
    async fn run(mut self) {
        while let Ok(()) = self.step().await {}
    }

    async fn step(&mut self) -> Result<(), Closed> {
        let until = self.receiving.as_ref().map(|receiving| receiving.until.min(receiving.silent_until));
        tokio::select! {
            message = self.inbound.message() => {
                let message = message.ok().flatten().and_then(|message| message.message).ok_or(Closed)?;
                self.hear(message).await
            }
            changed = self.orders.changed() => {
                changed.map_err(|_| Closed)?;
                // A round that is tried again has a new order, and the participant begins anew.
                if let Some(Receiving { header, work, .. }) = &self.receiving
                    && !self.wanted(header.round).is_some_and(|wanted| Arc::ptr_eq(&wanted, work))
                {
                    self.reject(header.round, CLOSED);
                    self.receiving = None;
                }
                Ok(())
            }
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                // Not refused, but missing: it may be announced again until the round's deadline.
                if let Some(Receiving { header, .. }) = self.receiving.take() {
                    self.reject(header.round, "its weights came too slowly");
                }
                Ok(())
            }
        }
    }

    async fn hear(&mut self, message: Up) -> Result<(), Closed> {
        match message {
            Up::Update(header) => self.announced(header).await,
            Up::Chunk(chunk) => match &mut self.receiving {
                Some(receiving) => match receiving.incoming.push(&chunk) {
                    Ok(()) => {
                        // A chunk of nothing is silence too.
                        if !chunk.is_empty() {
                            receiving.silent_until = Instant::now() + self.silence;
                        }
                        Ok(())
                    }
                    Err(error) => {
                        let round = receiving.header.round;
                        self.receiving = None;
                        self.refuse(round, error.to_string()).await
                    }
                },
                None => Ok(()),
            },
            Up::Checksum(checksum) => match self.receiving.take() {
                Some(Receiving { header, incoming, permit, .. }) => match incoming.finish(checksum) {
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

    /// The work that an update for `round` answers, if that round's updates are wanted.
    fn wanted(&self, round: u32) -> Option<Arc<Work>> {
        match &*self.orders.borrow() {
            Order::Work(work) if work.kind == Kind::Train && work.round == round => Some(Arc::clone(work)),
            _ => None,
        }
    }

    async fn announced(&mut self, header: Update) -> Result<(), Closed> {
        // An update that was not finished is given up by the one that follows it.
        self.receiving = None;
        let round = header.round;
        let Some(work) = self.wanted(round) else {
            self.reject(round, CLOSED);
            return Ok(());
        };
        if header.samples == 0 {
            return self.refuse(round, "it rests on no samples".to_owned()).await;
        }
        let length = work.payload.len();
        let (least, most) = (length.saturating_sub(SLACK), length.saturating_add(SLACK));
        let permit = loop {
            tokio::select! {
                permit = Arc::clone(&self.permits).acquire_owned() => break permit.map_err(|_| Closed)?,
                changed = self.orders.changed() => {
                    changed.map_err(|_| Closed)?;
                    if !self.wanted(round).is_some_and(|wanted| Arc::ptr_eq(&wanted, &work)) {
                        self.reject(round, CLOSED);
                        return Ok(());
                    }
                }
            }
        };
        let incoming = match Incoming::new(header.bytes, least, most, &self.spares) {
            Ok(incoming) => incoming,
            Err(error) => return self.refuse(round, error.to_string()).await,
        };
        let granted = say(&self.outbound, Down::Grant(Grant { round }));
        match tokio::time::timeout(self.silence, granted).await {
            Ok(granted) => granted?,
            // It does not read: what it may have announced again finds another permit.
            Err(_) => return Ok(()),
        }
        let now = Instant::now();
        let (until, silent_until) = (now + transfer_time(header.bytes), now + self.silence);
        self.receiving = Some(Receiving { header, work, incoming, permit, until, silent_until });
        Ok(())
    }

    async fn tell(&self, event: Event) -> Result<(), Closed> {
        self.events.send((self.id, event)).await.map_err(|_| Closed)
    }

    async fn refuse(&self, round: u32, why: String) -> Result<(), Closed> {
        self.reject(round, &why);
        self.tell(Event::Refused { round, why }).await
    }

    /// Never waits, or two ends that both wait to write would stand still; one whose link is full learns by
    /// the next round.
    fn reject(&self, round: u32, why: &str) {
        let message = Down::Rejected(Rejected { round, reason: why.to_owned() });
        let _ = self.outbound.try_send(Ok(AggregatorMessage { message: Some(message) }));
    }
}
