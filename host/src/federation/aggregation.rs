//! Leads the rounds of one job: invites, folds updates as they come, has the result measured, keeps it.
//!
//! [`crate::worker`] makes one for an aggregator and runs it to its end. Who takes part sits in `seats`; what
//! they say comes as events of [`super::connection`]; one round is led by `round`, and what it comes to is
//! kept by [`super::checkpoint`].

mod round;

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
use super::payload::Payload;
use super::rounds::Terms;
use super::seats::{Happened, Seats};
use crate::artifacts::{Artifact, Artifacts, WeightsFile};
use crate::link::backoff::Backoff;
use crate::model::Weights;
use crate::runtime::Aggregator;
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
    /// Evaluators that let a deadline pass and were not connected: not waited for until they are.
    pub(crate) absent: BTreeSet<String>,
}

/// Where the job stands.
struct Standing {
    round: u32,
    weights: Weights,
    history: Vec<Record>,
}

/// A checkpoint that is being written.
type Saving = Option<JoinHandle<std::io::Result<()>>>;

impl Aggregation {
    /// Lead all rounds that are left, push the result, and dismiss the participants. Gives the number of
    /// rounds and the digest of the resulting model's manifest.
    pub(crate) async fn lead(mut self, initial: Weights) -> Result<(u32, String), Ended> {
        let mut standing = self.resume(initial).await?;
        self.show(&standing)();
        let mut saving = None;
        let led = self.rounds(&mut standing, &mut saving).await;
        // However the rounds ended: who is given this folder next finds nobody writing there.
        let kept = saved(saving.take()).await;
        led.and(kept)?;
        let digest = self.push(&standing).await?;
        self.reporter
            .line(&format!("the resulting model is {}:{} ({digest})", self.task.repository, self.task.tag));
        self.seats.dismiss(standing.round).await;
        Ok((standing.round, digest))
    }

    async fn rounds(&mut self, standing: &mut Standing, saving: &mut Saving) -> Result<(), Ended> {
        let mut payload = self.payload(&standing.weights).await?;
        let mut patient = true;
        while standing.round < self.task.rounds && !self.is_over(standing) {
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
            // The disk works while the next round does; the round after that waits for it.
            saved(saving.take()).await?;
            *saving = Some(self.save(standing));
        }
        Ok(())
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

    /// What shows the status of this standing, when it is called.
    fn show(&self, standing: &Standing) -> impl FnOnce() + Send + 'static {
        let (reporter, done, total) = (self.reporter.clone(), standing.round, self.task.rounds);
        let rounds: Vec<_> = standing.history.iter().map(node::Round::from).collect();
        move || {
            reporter.update(|status| {
                (status.done, status.total) = (done.into(), total.into());
                status.metrics = rounds.last().map(|round| round.metrics.clone()).unwrap_or_default();
                status.rounds = rounds;
            });
        }
    }

    async fn payload(&self, weights: &Weights) -> Result<Payload, Ended> {
        Payload::of(weights.clone())
            .await
            .ok_or_else(|| Ended::failed("HostError", "the weights could not be written as safetensors"))
    }

    /// Wait for what happens next; failures for good are noted here, whenever they come.
    async fn next(&mut self, until: Option<Instant>) -> Result<Happened, Ended> {
        let happened = tokio::select! {
            () = self.cancel.cancelled() => return Err(Ended::Cancelled),
            happened = self.seats.next(until) => happened,
        };
        let mut others = matches!(happened, Happened::Seated);
        if let Happened::Said(name, Event::Failure { round, reason, message, last }) = &happened {
            self.reporter.line(&format!("round {round}: {name} failed: {reason}: {message}"));
            if *last {
                self.seats.lose(name);
                others = true;
            }
        }
        if others {
            let names = self.seats.trainers();
            self.reporter.update(|status| status.participants = names);
        }
        Ok(happened)
    }

    fn work(&self, kind: Kind, round: u32, deadline: Instant, payload: &Payload) -> Order {
        let (rounds, payload) = (self.task.rounds, payload.clone());
        Order::Work(Arc::new(Work { kind, round, rounds, deadline, payload }))
    }

    /// Keep a round on disk, then show it: what is shown is not undone by a restart.
    fn save(&self, standing: &Standing) -> JoinHandle<std::io::Result<()>> {
        let state = State {
            round: standing.round,
            weights: checkpoint::weights_name(standing.round),
            history: standing.history.clone(),
        };
        let (folder, weights) = (Arc::clone(&self.folder), standing.weights.clone());
        let show = self.show(standing);
        tokio::task::spawn_blocking(move || {
            checkpoint::save(&folder, &weights.to_safetensors(), &state)?;
            show();
            Ok(())
        })
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

async fn saved(saving: Saving) -> Result<(), Ended> {
    let Some(saving) = saving else { return Ok(()) };
    let saved = saving.await.map_err(std::io::Error::other).and_then(|saved| saved);
    saved.map_err(|error| Ended::failed("HostError", format!("the checkpoint cannot be written: {error}")))
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
