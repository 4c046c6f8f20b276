//! One revision of a service: a plugin, its model and parameters, prepared, with the instances that answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::endpoint::{Metadata, Port, ServeError, ServeErrorKind};
use super::examples::Examples;
use super::mining::{Miner, Mining};
use super::pool::{Closed, Pool};
use super::samples;
use crate::nn;
use crate::runtime::NamedTensors;

/// A revision.
pub(super) struct Revision {
    pub number: AtomicU64,
    pub metadata: Arc<Metadata>,
    /// What the model's graph takes beside its weights; empty: the plugin alone knows.
    pub inputs: Vec<nn::Port>,
    pub pool: Pool<NamedTensors, NamedTensors>,
    pub mining: Option<Mining>,
    pub examples: Option<Examples>,
    pub trial: Trial,
}

/// How a revision does while it is watched.
#[derive(Default)]
pub(super) struct Trial {
    answers: AtomicU64,
    failures: AtomicU64,
    /// An answer that takes longer counts as failed, in microseconds; 0: none does.
    slow_micros: AtomicU64,
    /// The first failure.
    first: Mutex<Option<String>>,
}

impl Trial {
    /// Watch from now on.
    pub fn begin(&self, slow: Option<Duration>) {
        let micros = slow.map_or(0, |slow| u64::try_from(slow.as_micros()).unwrap_or(u64::MAX).max(1));
        self.slow_micros.store(micros, Relaxed);
        self.answers.store(0, Relaxed);
        self.failures.store(0, Relaxed);
        *self.first.lock() = None;
    }

    /// Answers, those of them that failed, and the first failure.
    pub fn result(&self) -> (u64, u64, Option<String>) {
        (self.answers.load(Relaxed), self.failures.load(Relaxed), self.first.lock().clone())
    }

    /// `given_up`: the client's own deadline has passed, which says something of the revision only where it may not take
    /// as long.
    fn count(&self, outcome: &Result<NamedTensors, ServeError>, took: Duration, given_up: bool) {
        let slow = self.slow_micros.load(Relaxed);
        let slow =
            (slow > 0 && took.as_micros() > u128::from(slow)).then(|| format!("an answer took {took:?}"));
        let failure = match outcome {
            // The client's, or of those that came in too great a number: not the revision's.
            Err(error)
                if matches!(
                    error.kind,
                    ServeErrorKind::InvalidArgument | ServeErrorKind::NotFound | ServeErrorKind::Overloaded
                ) =>
            {
                return;
            }
            Err(error) if error.kind == ServeErrorKind::DeadlineExceeded && given_up => match slow {
                Some(slow) => Some(slow),
                None => return,
            },
            Err(error) => Some(error.message.clone()),
            Ok(_) => slow,
        };
        self.answers.fetch_add(1, Relaxed);
        if let Some(failure) = failure {
            self.failures.fetch_add(1, Relaxed);
            self.first.lock().get_or_insert(failure);
        }
    }
}

impl Revision {
    /// Whether these inputs are those that the model's graph takes.
    pub fn check(&self, inputs: &NamedTensors) -> Result<(), ServeError> {
        if self.inputs.is_empty() {
            return Ok(());
        }
        let refuse = |text: String| Err(ServeError::new(ServeErrorKind::InvalidArgument, text));
        let described = || self.inputs.iter().map(nn::Port::describe).collect::<Vec<_>>().join(", ");
        for (at, (name, tensor)) in inputs.iter().enumerate() {
            let Some(port) = self.inputs.iter().find(|port| port.name == *name) else {
                return refuse(format!("there is no input `{name:.100}`: the inputs are {}", described()));
            };
            if inputs[..at].iter().any(|(other, _)| other == name) {
                return refuse(format!("input `{name:.100}` is given twice"));
            }
            if let Err(error) = port.check(tensor, |declared, given| declared == given) {
                return refuse(error.message);
            }
        }
        match self.inputs.iter().find(|port| !inputs.iter().any(|(name, _)| *name == port.name)) {
            Some(port) => refuse(format!("input `{}` is missing: the inputs are {}", port.name, described())),
            None => Ok(()),
        }
    }

    /// Have the edge's model answer. The inputs come back where this revision has been closed.
    pub async fn infer(
        &self,
        inputs: NamedTensors,
        deadline: Option<Instant>,
    ) -> Result<Result<NamedTensors, ServeError>, Closed<NamedTensors>> {
        let begun = Instant::now();
        let outcome = self.pool.call(inputs, deadline).await?;
        let now = Instant::now();
        let given_up = deadline.is_some_and(|deadline| now >= deadline);
        self.trial.count(&outcome, now - begun, given_up);
        Ok(outcome)
    }

    /// Take no more, answer what waits, end.
    pub async fn drain(&self) {
        self.pool.drain().await;
        if let Some(Mining { miner: Miner::Plugin(pool), .. }) = &self.mining {
            pool.drain().await;
        }
        if let Some(examples) = &self.examples {
            examples.close().await;
        }
    }

    /// Which samples are hard.
    pub async fn mine(
        &self,
        batch: &NamedTensors,
        deadline: Option<Instant>,
    ) -> Result<Vec<usize>, ServeError> {
        let Some(mining) = &self.mining else { return Ok(Vec::new()) };
        let samples = samples::count(batch)?;
        let hard = mining.hard(batch, samples, deadline).await?;
        Ok(hard.iter().enumerate().filter(|(_, hard)| **hard).map(|(at, _)| at).collect())
    }
}

/// What a client is told of a graph's input or output; None: not enough is known of it.
pub(super) fn told(port: &nn::Port) -> Option<Port> {
    let shape = port.shape.clone()?;
    Some(Port { name: port.name.clone(), dtype: port.dtype?, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    fn outcome(kind: ServeErrorKind) -> Result<NamedTensors, ServeError> {
        Err(ServeError::new(kind, "no"))
    }

    #[test]
    fn what_is_the_clients_doing_does_not_count_against_a_revision() {
        let trial = Trial::default();
        trial.begin(None);
        for kind in [ServeErrorKind::InvalidArgument, ServeErrorKind::Overloaded, ServeErrorKind::NotFound] {
            trial.count(&outcome(kind), SHORT, false);
        }
        trial.count(&outcome(ServeErrorKind::DeadlineExceeded), SHORT, true);
        assert_eq!(trial.result(), (0, 0, None));
    }

    #[test]
    fn failures_and_slow_answers_count_and_the_first_is_told() {
        let trial = Trial::default();
        trial.begin(Some(SHORT));
        trial.count(&Ok(Vec::new()), SHORT, false);
        trial.count(&outcome(ServeErrorKind::DeadlineExceeded), 2 * SHORT, true);
        trial.count(&outcome(ServeErrorKind::Internal), SHORT, false);
        trial.count(&Ok(Vec::new()), 2 * SHORT, false);
        assert_eq!(trial.result(), (4, 3, Some("an answer took 2ms".to_owned())));
        trial.begin(None);
        assert_eq!(trial.result(), (0, 0, None));
    }
}
