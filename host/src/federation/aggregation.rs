//! Leads the rounds of one job: invites, folds updates as they come, has the result measured, keeps it.
//!
//! [`crate::worker`] makes one for an aggregator and runs it to its end. Who takes part sits in `seats`; what
//! they say comes as events of [`super::connection`]; what to do about it [`super::rounds`] decides.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use sedge_api::node;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::checkpoint::{self, HISTORY, Record, State};
use super::connection::{Event, Kind, Order, Work};
use super::means::Means;
use super::payload::Payload;
use super::rounds::{Gathering, Round, Start, TRIES, Tally, Terms, Verdict};
use super::seats::{Happened, Seats};
use crate::artifacts::{Artifact, Artifacts, WeightsFile};
use crate::link::backoff::Backoff;
use crate::model::Weights;
use crate::runtime::{Aggregate, Aggregator, Update};
use crate::worker::{Ended, Reporter};

/// How the rounds are to be led: `Aggregation` of the node protocol, parsed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    pub(crate) rounds: u32,
    pub(crate) terms: Terms,
    pub(crate) trainers: BTreeSet<String>,
    pub(crate) evaluators: BTreeSet<String>,
    pub(crate) token: String,
    pub(crate) stop: Option<Stop>,
    pub(crate) repository: String,
    pub(crate) tag: String,
}

/// A bound on a metric that ends the job early.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stop {
    pub(crate) metric: String,
    pub(crate) at_least: bool,
    pub(crate) threshold: f64,
}

impl Stop {
    fn is_met(&self, metrics: &[(String, f64)]) -> bool {
        metrics.iter().any(|(name, value)| {
            *name == self.metric
                && if self.at_least { *value >= self.threshold } else { *value <= self.threshold }
        })
    }
}

/// The rounds of one job.
pub(crate) struct Aggregation {
    pub(crate) task: Task,
    pub(crate) aggregator: Aggregator,
    /// The worker's own folder, where the checkpoint is.
    pub(crate) folder: Arc<Dir>,
    pub(crate) reporter: Reporter,
    pub(crate) artifacts: Arc<Artifacts>,
    /// The model that the job began with: graphs of the result.
    pub(crate) base: Artifact,
    pub(crate) cancel: CancellationToken,
    pub(crate) seats: Seats,
}

/// A round's updates, folded.
struct Closed {
    weights: Weights,
    tally: Tally,
    means: Means,
    started: Instant,
}

/// Where the job stands.
struct Standing {
    round: u32,
    weights: Weights,
    history: Vec<Record>,
}

impl Aggregation {
    /// Lead all rounds that are left, push the result, and dismiss the participants. Gives the number of
    /// rounds and the digest of the resulting model's manifest.
    pub(crate) async fn lead(mut self, initial: Weights) -> Result<(u32, String), Ended> {
        let mut standing = self.resume(initial).await?;
        self.publish(&standing);
        let mut saving: Option<JoinHandle<std::io::Result<()>>> = None;
        let mut payload = self.payload(&standing.weights).await?;
        let mut patient = true;
        while standing.round < self.task.rounds && !self.is_over(&standing) {
            let number = standing.round + 1;
            let closed = self.round(number, &standing.weights, &payload, patient).await?;
            patient = false;
            payload = self.payload(&closed.weights).await?;
            let mut metrics = closed.means.named("train.");
            metrics.extend(self.evaluate(number, &payload).await?.named(""));
            let record = Record {
                number,
                updates: closed.tally.folded,
                refused: closed.tally.refused,
                missing: closed.tally.missing,
                samples: closed.tally.samples,
                metrics,
                duration_millis: u64::try_from(closed.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                finished_unix_millis: crate::worker::now_millis(),
            };
            self.reporter.line(&describe(&record));
            standing.history.push(record);
            let excess = standing.history.len().saturating_sub(HISTORY);
            standing.history.drain(..excess);
            standing.round = number;
            standing.weights = closed.weights;
            self.publish(&standing);
            // The disk works while the next round does; the round after that waits for it.
            saved(saving.take()).await?;
            saving = Some(self.save(&standing));
        }
        saved(saving.take()).await?;
        let digest = self.push(&standing).await?;
        self.reporter
            .line(&format!("the resulting model is {}:{} ({digest})", self.task.repository, self.task.tag));
        self.seats.dismiss(standing.round).await;
        Ok((standing.round, digest))
    }

    async fn resume(&self, initial: Weights) -> Result<Standing, Ended> {
        let folder = Arc::clone(&self.folder);
        let loaded = tokio::task::spawn_blocking(move || checkpoint::load(&folder)).await;
        let loaded = loaded.map_err(std::io::Error::other).and_then(|loaded| loaded);
        let kept = loaded.map_err(|error| {
            Ended::failed("CheckpointDamaged", format!("the checkpoint cannot be read: {error}"))
        })?;
        Ok(match kept {
            None => Standing { round: 0, weights: initial, history: Vec::new() },
            Some((state, weights)) => {
                initial.check_layout(&weights).map_err(|error| {
                    Ended::failed("CheckpointDamaged", format!("the checkpoint is of another model: {error}"))
                })?;
                self.reporter.line(&format!("going on after round {}", state.round));
                Standing { round: state.round, weights, history: state.history }
            }
        })
    }

    fn is_over(&self, standing: &Standing) -> bool {
        let last = standing.history.last();
        let (Some(stop), Some(last)) = (&self.task.stop, last) else { return false };
        stop.is_met(&last.metrics)
    }

    fn publish(&self, standing: &Standing) {
        self.reporter.update(|status| {
            status.done = standing.round.into();
            status.total = self.task.rounds.into();
            status.rounds = standing.history.iter().map(node::Round::from).collect();
            status.metrics = status.rounds.last().map(|round| round.metrics.clone()).unwrap_or_default();
        });
    }

    async fn payload(&self, weights: &Weights) -> Result<Payload, Ended> {
        Payload::of(weights.clone())
            .await
            .ok_or_else(|| Ended::failed("HostError", "the weights could not be written as safetensors"))
    }

    /// One round, tried until it closes.
    async fn round(
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
        let give_up = (!patient).then(|| Instant::now() + self.task.terms.deadline * TRIES);
        loop {
            let connected = self.seats.trainers().len();
            let expected = self.task.trainers.difference(self.seats.lost()).count();
            let now = Instant::now();
            let until = match gathering.start(connected, expected, now.into_std()) {
                Start::Now => return Ok(()),
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
    async fn evaluate(&mut self, number: u32, payload: &Payload) -> Result<Means, Ended> {
        let mut means = Means::default();
        let mut awaited: BTreeSet<String> =
            self.task.evaluators.difference(self.seats.lost()).cloned().collect();
        if awaited.is_empty() {
            return Ok(means);
        }
        let deadline = Instant::now() + self.task.terms.deadline;
        self.seats.measure(self.work(Kind::Evaluate, number, deadline, payload));
        while !awaited.is_empty() && Instant::now() < deadline {
            match self.next(Some(deadline)).await? {
                Happened::Said(name, Event::Report { round, samples, metrics }) if round == number => {
                    if awaited.remove(&name) {
                        means.add(samples.max(1), &metrics);
                    }
                }
                Happened::Said(name, Event::Failure { round, .. }) if round == number => {
                    awaited.remove(&name);
                }
                _ => {}
            }
        }
        for name in &awaited {
            self.reporter.line(&format!("round {number}: {name} did not report in time"));
        }
        self.seats.rest();
        Ok(means)
    }

    /// Wait for what happens next; failures for good are noted here, whenever they come.
    async fn next(&mut self, until: Option<Instant>) -> Result<Happened, Ended> {
        let happened = tokio::select! {
            () = self.cancel.cancelled() => return Err(Ended::Cancelled),
            happened = self.seats.next(until) => happened,
        };
        if let Happened::Said(name, Event::Failure { round, reason, message, last }) = &happened {
            self.reporter.line(&format!("round {round}: {name} failed: {reason}: {message}"));
            if *last {
                self.seats.lose(name);
            }
        }
        if matches!(happened, Happened::Seated) {
            let names = self.seats.trainers();
            self.reporter.update(|status| status.participants = names);
        }
        Ok(happened)
    }

    fn work(&self, kind: Kind, round: u32, deadline: Instant, payload: &Payload) -> Order {
        let (rounds, payload) = (self.task.rounds, payload.clone());
        Order::Work(Arc::new(Work { kind, round, rounds, deadline, payload }))
    }

    fn save(&self, standing: &Standing) -> JoinHandle<std::io::Result<()>> {
        let state = State {
            round: standing.round,
            weights: checkpoint::weights_name(standing.round),
            history: standing.history.clone(),
        };
        let (folder, weights) = (Arc::clone(&self.folder), standing.weights.clone());
        tokio::task::spawn_blocking(move || checkpoint::save(&folder, &weights.to_safetensors(), &state))
    }

    /// Push the result, for as long as it takes; participants may come and go meanwhile.
    async fn push(&mut self, standing: &Standing) -> Result<String, Ended> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        let name = checkpoint::weights_name(standing.round);
        loop {
            let (artifacts, folder) = (Arc::clone(&self.artifacts), Arc::clone(&self.folder));
            let (base, repository, tag) =
                (self.base.clone(), self.task.repository.clone(), self.task.tag.clone());
            let file = WeightsFile { dir: &folder, name: &name, weights: &standing.weights };
            let pushing = artifacts.push_model(&base, file, &repository, &tag);
            let mut pushing = std::pin::pin!(pushing);
            let pushed = loop {
                tokio::select! {
                    pushed = &mut pushing => break pushed,
                    happened = self.next(None) => { happened?; }
                }
            };
            match pushed {
                Ok(digest) => {
                    self.reporter.update(|status| {
                        status.reason.clear();
                        status.message.clear();
                    });
                    return Ok(digest.to_string());
                }
                Err(error) if error.is_temporary() => {
                    let (reason, message) = ("PushingResult".to_owned(), error.to_string());
                    self.reporter.update(|status| (status.reason, status.message) = (reason, message));
                    let again = Instant::now() + backoff.next();
                    while Instant::now() < again {
                        self.next(Some(again)).await?;
                    }
                }
                Err(error) => return Err(Ended::failed(error.reason(), error.to_string())),
            }
        }
    }
}

async fn saved(saving: Option<JoinHandle<std::io::Result<()>>>) -> Result<(), Ended> {
    let Some(saving) = saving else { return Ok(()) };
    let saved = saving.await.map_err(std::io::Error::other).and_then(|saved| saved);
    saved.map_err(|error| Ended::failed("HostError", format!("the checkpoint cannot be written: {error}")))
}

fn too_few(message: &str) -> Ended {
    Ended::failed("TooFewParticipants", message)
}

fn describe(record: &Record) -> String {
    use std::fmt::Write as _;
    let mut line = format!(
        "round {}: {} updates, {} refused, {} missing, {} samples, {} ms",
        record.number, record.updates, record.refused, record.missing, record.samples, record.duration_millis
    );
    for (name, value) in &record.metrics {
        // Writing to a String does not fail.
        let _ = write!(line, ", {name} {value:.4}");
    }
    line
}
