//! One round of the job: gather participants, invite them, fold what they send, have the result measured.
//!
//! Called by [`super::Aggregation::lead`] for each round in turn. When a round begins and closes is decided by
//! [`crate::federation::rounds`].

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::Aggregation;
use crate::federation::connection::{Event, Kind};
use crate::federation::means::Means;
use crate::federation::payload::Payload;
use crate::federation::rounds::{Gathering, Round, Start, TRIES, Tally, Verdict};
use crate::federation::seats::Happened;
use crate::model::Weights;
use crate::runtime::{Aggregate, Update};
use crate::worker::Ended;

/// A round's updates, folded.
pub(super) struct Closed {
    pub(super) weights: Weights,
    pub(super) tally: Tally,
    pub(super) means: Means,
    pub(super) started: Instant,
}

impl Aggregation {
    /// One round, tried until it closes.
    pub(super) async fn round(
        &mut self,
        number: u32,
        current: &Weights,
        payload: &Payload,
        patient: bool,
    ) -> Result<Closed, Ended> {
        let mut tries = 0;
        loop {
            self.gather(number, patient).await?;
            if let Some(closed) = self.attempt(number, current, payload).await? {
                return Ok(closed);
            }
            tries += 1;
            if tries >= TRIES {
                return Err(too_few(&format!(
                    "round {number} closed {tries} times in a row with fewer than {} updates",
                    self.task.terms.minimum
                )));
            }
            self.reporter.line(&format!("round {number} is done again: too few updates"));
        }
    }

    /// Wait until enough trainers are there. A job that has closed a round does not wait for ever.
    async fn gather(&mut self, number: u32, patient: bool) -> Result<(), Ended> {
        let mut gathering = Gathering::new(self.task.terms, patient);
        let give_up = (number > 1).then(|| Instant::now() + self.task.terms.deadline * TRIES);
        loop {
            let connected = self.seats.trainers().len();
            let expected = self.task.trainers.difference(self.seats.lost()).count();
            let now = Instant::now();
            let until = match gathering.start(connected, expected, now.into_std()) {
                Start::Now => {
                    self.reporter.running();
                    return Ok(());
                }
                Start::At(at) => Some(Instant::from_std(at)),
                Start::Wait => give_up,
                Start::Never => {
                    return Err(too_few(&format!(
                        "{} trainers have failed; {expected} are left and round {number} needs {}",
                        self.seats.lost().len(),
                        self.task.terms.minimum
                    )));
                }
            };
            if give_up.is_some_and(|give_up| now >= give_up) {
                return Err(too_few(&format!(
                    "for {TRIES} deadlines no more than {connected} trainers were connected, and round {number} needs {}",
                    self.task.terms.minimum
                )));
            }
            self.reporter.update(|status| {
                status.reason = "WaitingForParticipants".to_owned();
                status.message = format!("{connected} of {expected} trainers are connected");
            });
            self.next(until).await?;
        }
    }

    /// One try of a round; None where too few updates came.
    async fn attempt(
        &mut self,
        number: u32,
        current: &Weights,
        payload: &Payload,
    ) -> Result<Option<Closed>, Ended> {
        let started = Instant::now();
        let invited = self.seats.trainers();
        let round = Round::new(self.task.terms, invited.iter().cloned(), started.into_std());
        let deadline = Instant::from_std(round.deadline());
        self.seats.invite(round, self.work(Kind::Train, number, deadline, payload));
        let mut aggregate = self.aggregator.begin(number, current.clone()).await?;
        let mut means = Means::default();
        loop {
            match self.seats.verdict(Instant::now().into_std()) {
                Verdict::Wait => {}
                Verdict::Close => break,
                Verdict::Again => {
                    self.seats.rest();
                    return Ok(None);
                }
            }
            if let Happened::Said(name, event) = self.next(Some(deadline)).await? {
                self.hear(&name, number, event, current, &mut aggregate, &mut means).await?;
            }
        }
        let tally = self.seats.rest();
        let weights = aggregate.finish().await?;
        current.check_layout(&weights).map_err(|error| {
            Ended::failed(
                "PluginError",
                format!("the aggregator's new weights do not fit the model: {error}"),
            )
        })?;
        Ok(Some(Closed { weights, tally, means, started }))
    }

    async fn hear(
        &mut self,
        name: &str,
        number: u32,
        event: Event,
        current: &Weights,
        aggregate: &mut Aggregate,
        means: &mut Means,
    ) -> Result<(), Ended> {
        match event {
            Event::Update { round, samples, metrics, safetensors, permit } if round == number => {
                if !self.seats.awaits(name) {
                    return Ok(());
                }
                let weights = Weights::from_buffer(safetensors)
                    .and_then(|weights| current.check_layout(&weights).map(|()| weights));
                let why = match weights {
                    Err(error) => Some(error.to_string()),
                    Ok(weights) => {
                        let update = Update { weights, samples, metrics: metrics.clone() };
                        aggregate.add(update).await?.err()
                    }
                };
                drop(permit);
                match why {
                    None => {
                        means.add(samples, &metrics);
                        self.seats.folded(name, samples);
                    }
                    Some(why) => {
                        self.seats.reject(name, number, &why);
                        self.refused(name, number, &why);
                    }
                }
            }
            Event::Refused { round, why } if round == number => self.refused(name, number, &why),
            Event::Failure { round, .. } if round == number => self.seats.failed(name),
            _ => {}
        }
        Ok(())
    }

    fn refused(&mut self, name: &str, number: u32, why: &str) {
        self.reporter.line(&format!("round {number}: the update of {name} was refused: {why}"));
        self.seats.refused(name);
    }

    /// Have weights measured by all evaluators that are left, at most until the deadline.
    pub(super) async fn evaluate(&mut self, number: u32, payload: &Payload) -> Result<Means, Ended> {
        let mut means = Means::default();
        let (seats, absent) = (&self.seats, &self.absent);
        let there = |name: &&String| !absent.contains(*name) || seats.is_seated(name);
        let mut awaited: BTreeSet<String> =
            self.task.evaluators.difference(seats.lost()).filter(there).cloned().collect();
        if awaited.is_empty() {
            return Ok(means);
        }
        let deadline = Instant::now() + self.task.terms.deadline;
        self.seats.measure(self.work(Kind::Evaluate, number, deadline, payload));
        while !awaited.is_empty() && Instant::now() < deadline {
            match self.next(Some(deadline)).await? {
                // The first report of each counts.
                Happened::Said(name, Event::Report { round, samples, metrics })
                    if round == number && awaited.remove(&name) =>
                {
                    self.absent.remove(&name);
                    means.add(samples.max(1), &metrics);
                }
                Happened::Said(name, Event::Failure { round, .. }) if round == number => {
                    awaited.remove(&name);
                }
                _ => {}
            }
        }
        for name in awaited {
            self.reporter.line(&format!("round {number}: {name} did not report in time"));
            self.absent.insert(name);
        }
        self.seats.rest();
        Ok(means)
    }
}

fn too_few(message: &str) -> Ended {
    Ended::failed("TooFewParticipants", message)
}
