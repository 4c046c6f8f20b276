//! Who takes part in a job's rounds: participants come through the door, sit down, speak and leave.
//!
//! [`super::aggregation`] gives orders to seats and hears from them; each seat has a task of
//! [`super::connection`] of its own, which ends with the seat.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sedge_api::federation::aggregator_message::Message as Down;
use sedge_api::federation::{Accepted, AggregatorMessage, ParticipantRole, Rejected};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::connection::{Connection, Event, Order, SeatId};
use super::rounds::{Round, Tally, Verdict};
use super::service::{Guest, Guests};
use crate::nn::Spares;

/// Payloads received at once: one is folded while the next arrives.
const RECEIVING: usize = 2;
/// How long a participant may send nothing of an update that it was asked for: at the least speed of
/// [`super::transfer_time`] the largest chunk takes eight seconds.
const SILENCE: Duration = Duration::from_secs(10);
/// Events that wait for the aggregation.
const EVENTS: usize = 64;
/// How long the last messages may take to leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// What came next.
pub(super) enum Happened {
    /// Somebody sat down or left.
    Seated,
    /// The worker of this name said something.
    Said(String, Event),
    /// The time given has come.
    Time,
}

struct Seat {
    id: SeatId,
    orders: watch::Sender<Order>,
    outbound: mpsc::WeakSender<Result<AggregatorMessage, Status>>,
    cancel: CancellationToken,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// All seats of a job.
pub(crate) struct Seats {
    guests: Guests,
    /// Names that may sit down, by role.
    trainers: BTreeSet<String>,
    evaluators: BTreeSet<String>,
    seats: BTreeMap<String, Seat>,
    names: BTreeMap<SeatId, String>,
    next_id: SeatId,
    /// Failed for good: not invited again.
    lost: BTreeSet<String>,
    /// What connections put their events in; cloned for each.
    said: mpsc::Sender<(SeatId, Event)>,
    events: mpsc::Receiver<(SeatId, Event)>,
    permits: Arc<Semaphore>,
    spares: Spares,
    /// See [`Connection::silence`].
    pub(super) silence: Duration,
    tasks: TaskTracker,
    round: Option<(Round, Order)>,
    measuring: Option<Order>,
    finished: Option<u32>,
}

impl Seats {
    /// Seats for the workers of these names, who come as `guests`.
    pub(crate) fn new(guests: Guests, trainers: BTreeSet<String>, evaluators: BTreeSet<String>) -> Self {
        let (said, events) = mpsc::channel(EVENTS);
        Self {
            guests,
            trainers,
            evaluators,
            seats: BTreeMap::new(),
            names: BTreeMap::new(),
            next_id: 0,
            lost: BTreeSet::new(),
            said,
            events,
            permits: Arc::new(Semaphore::new(RECEIVING)),
            spares: Spares::new(RECEIVING),
            silence: SILENCE,
            tasks: TaskTracker::new(),
            round: None,
            measuring: None,
            finished: None,
        }
    }

    /// Trainers that are connected and able.
    pub(super) fn trainers(&self) -> Vec<String> {
        let able = |name: &&String| self.trainers.contains(*name) && !self.lost.contains(*name);
        self.seats.keys().filter(able).cloned().collect()
    }

    /// Whether the participant of this name is connected.
    pub(super) fn is_seated(&self, name: &str) -> bool {
        self.seats.contains_key(name)
    }

    pub(super) fn lost(&self) -> &BTreeSet<String> {
        &self.lost
    }

    pub(super) fn lose(&mut self, name: &str) {
        self.lost.insert(name.to_owned());
        self.failed(name);
    }

    /// What happens next, at the latest at `until`.
    pub(super) async fn next(&mut self, until: Option<Instant>) -> Happened {
        loop {
            tokio::select! {
                Some(guest) = self.guests.recv() => {
                    if self.seat(guest) {
                        return Happened::Seated;
                    }
                }
                Some((id, event)) = self.events.recv() => {
                    // Of a connection that another of the same participant has replaced: nothing.
                    let Some(name) = self.names.get(&id).cloned() else { continue };
                    if matches!(event, Event::Left) {
                        self.names.remove(&id);
                        self.seats.remove(&name);
                        return Happened::Seated;
                    }
                    return Happened::Said(name, event);
                }
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return Happened::Time;
                }
            }
        }
    }

    /// Give a guest its seat, and the order of the hour; one who may not sit here is sent away.
    fn seat(&mut self, guest: Guest) -> bool {
        let Guest { worker: name, node, role, inbound, outbound } = guest;
        let named = match role {
            ParticipantRole::Trainer => &self.trainers,
            ParticipantRole::Evaluator => &self.evaluators,
            ParticipantRole::Unspecified => return false,
        };
        if !named.contains(&name) || self.lost.contains(&name) {
            let _ = outbound.try_send(Err(Status::not_found(format!("{name} is not expected here"))));
            return false;
        }
        tracing::debug!(worker = name, node, "participant joined");
        // The channel is empty as yet.
        let _ = outbound.try_send(Ok(AggregatorMessage { message: Some(Down::Accepted(Accepted {})) }));
        let order = match (role, &self.round, &self.measuring, self.finished) {
            (_, _, _, Some(rounds)) => Order::Finish { rounds },
            (ParticipantRole::Trainer, Some((round, order)), _, _) if round.awaits(&name) => order.clone(),
            (ParticipantRole::Evaluator, _, Some(order), _) => order.clone(),
            _ => Order::Rest,
        };
        let id = self.next_id;
        self.next_id += 1;
        let (orders, receiver) = watch::channel(order);
        let cancel = CancellationToken::new();
        let seat = Seat { id, orders, outbound: outbound.downgrade(), cancel: cancel.clone() };
        let connection = Connection {
            id,
            inbound,
            outbound,
            orders: receiver,
            events: self.said.clone(),
            permits: Arc::clone(&self.permits),
            spares: self.spares.clone(),
            silence: self.silence,
            cancel,
        };
        self.tasks.spawn(connection.run());
        self.names.insert(id, name.clone());
        if let Some(replaced) = self.seats.insert(name, seat) {
            self.names.remove(&replaced.id);
        }
        true
    }

    /// Begin a round: all whom it awaits are given `order`, now or when they come back.
    pub(super) fn invite(&mut self, round: Round, order: Order) {
        for (name, seat) in &self.seats {
            if round.awaits(name) {
                seat.orders.send_replace(order.clone());
            }
        }
        self.round = Some((round, order));
    }

    /// All evaluators are given `order`, now or when they come back.
    pub(super) fn measure(&mut self, order: Order) {
        for (name, seat) in &self.seats {
            if self.evaluators.contains(name) {
                seat.orders.send_replace(order.clone());
            }
        }
        self.measuring = Some(order);
    }

    /// End what is under way; gives the round's counts.
    pub(super) fn rest(&mut self) -> Tally {
        self.measuring = None;
        for seat in self.seats.values() {
            seat.orders.send_if_modified(|order| {
                let busy = !matches!(order, Order::Rest);
                *order = Order::Rest;
                busy
            });
        }
        self.round.take().map(|(round, _)| round.tally()).unwrap_or_default()
    }

    pub(super) fn verdict(&self, now: std::time::Instant) -> Verdict {
        self.round.as_ref().map_or(Verdict::Wait, |(round, _)| round.verdict(now))
    }

    pub(super) fn awaits(&self, name: &str) -> bool {
        self.round.as_ref().is_some_and(|(round, _)| round.awaits(name))
    }

    pub(super) fn folded(&mut self, name: &str, samples: u64) {
        if let Some((round, _)) = &mut self.round {
            round.folded(name, samples);
        }
    }

    pub(super) fn refused(&mut self, name: &str) {
        if let Some((round, _)) = &mut self.round {
            round.refused(name);
        }
    }

    pub(super) fn failed(&mut self, name: &str) {
        if let Some((round, _)) = &mut self.round {
            round.failed(name);
        }
    }

    /// Tell a participant that its update was refused; one whose link is full learns by the next round.
    pub(super) fn reject(&self, name: &str, round: u32, why: &str) {
        if let Some(outbound) = self.seats.get(name).and_then(|seat| seat.outbound.upgrade()) {
            let message = Down::Rejected(Rejected { round, reason: why.to_owned() });
            let _ = outbound.try_send(Ok(AggregatorMessage { message: Some(message) }));
        }
    }

    #[cfg(test)]
    pub(super) fn free_permits(&self) -> usize {
        self.permits.available_permits()
    }

    /// Tell all that the job is over, and wait a little for the words to leave.
    pub(super) async fn dismiss(&mut self, rounds: u32) {
        self.finished = Some(rounds);
        for seat in self.seats.values() {
            seat.orders.send_replace(Order::Finish { rounds });
        }
        let end = Instant::now() + FAREWELL;
        while !self.seats.is_empty() && Instant::now() < end {
            self.next(Some(end)).await;
        }
    }
}
