//! A service of this node: what answers requests now, and the way of a request through it.
//!
//! ```text
//!  request ─▶ check ─▶ [mine inputs] ─▶ edge's model ─▶ [mine outputs] ─▶ answer
//!                          │ hard                            │ hard
//!                          └────────────▶ cloud ◀────────────┘   else the edge's answer stands
//! ```
//! Which revision answers is looked up once per request; one that is swapped out answers what it has.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use sedge_api::node;

use super::breaker::State;
use super::endpoint::{Answer, AnsweredBy, Endpoint, Metadata, Request, ServeError, ServeErrorKind};
use super::mining::Stage;
use super::offload::{Cloud, Policy, Unanswered};
use super::pool::Closed;
use super::revision::Revision;
use super::samples;
use super::stats::Stats;
use crate::runtime::NamedTensors;

/// A service.
pub(super) struct Service {
    is_cloud: bool,
    current: RwLock<Arc<Revision>>,
    pub cloud: Cloud,
    stats: Stats,
}

impl Service {
    /// `is_cloud`: this is what edges ask.
    pub fn new(name: &str, is_cloud: bool, first: Arc<Revision>) -> Self {
        Self { is_cloud, current: RwLock::new(first), cloud: Cloud::new(name), stats: Stats::default() }
    }

    /// The revision that answers now.
    pub fn current(&self) -> Arc<Revision> {
        Arc::clone(&self.current.read())
    }

    /// Have `revision` answer from now on; gives the one that did.
    pub fn swap(&self, revision: Arc<Revision>) -> Arc<Revision> {
        std::mem::replace(&mut *self.current.write(), revision)
    }

    /// The revision that answers is as well that of another number.
    pub fn set_revision(&self, number: u64) {
        self.current().number.store(number, Relaxed);
    }

    /// What there is to say of it.
    pub fn status(&self) -> node::ServingStatus {
        let revision = self.current();
        let versions = revision.metadata.versions;
        let (stats, latency) = (&self.stats, self.stats.latency());
        let micros = |latency: std::time::Duration| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let mut status = node::ServingStatus {
            revision: revision.number.load(Relaxed),
            plugin_digest: versions.plugin.to_string(),
            model_digest: versions.model.map(|digest| digest.to_string()).unwrap_or_default(),
            instances: revision.pool.instances(),
            requests: stats.requests.load(Relaxed),
            failed: stats.failed.load(Relaxed),
            refused: stats.refused.load(Relaxed),
            samples: stats.samples.load(Relaxed),
            hard: stats.hard.load(Relaxed),
            offloaded: stats.offloaded.load(Relaxed),
            offload_failures: stats.offload_failures.load(Relaxed),
            hedges: self.cloud.hedges(),
            p50_micros: micros(latency.p50),
            p90_micros: micros(latency.p90),
            p99_micros: micros(latency.p99),
            requests_per_second: latency.per_second,
            ..node::ServingStatus::default()
        };
        if self.cloud.policy().is_some() {
            status.set_breaker(match self.cloud.breaker() {
                State::Closed => node::Breaker::Closed,
                State::Open => node::Breaker::Open,
                State::HalfOpen => node::Breaker::HalfOpen,
            });
        }
        status
    }

    async fn answer(&self, request: Request) -> Result<Answer, ServeError> {
        let Request { mut inputs, deadline } = request;
        loop {
            let revision = self.current();
            revision.check(&inputs)?;
            let samples = samples::count(&inputs)?;
            let way = Way { service: self, revision: &revision, deadline, samples };
            match way.walk(inputs).await {
                Ok(answer) => return answer,
                // It was swapped out between the look and the call.
                Err(Closed(back)) if !Arc::ptr_eq(&revision, &self.current()) => inputs = back,
                Err(Closed(_)) => {
                    return Err(ServeError::new(ServeErrorKind::Unavailable, "the service is ending"));
                }
            }
        }
    }

    fn count(&self, outcome: &Result<Answer, ServeError>) {
        let counter = match outcome.as_ref().map_err(|error| error.kind) {
            Ok(_) => return,
            Err(ServeErrorKind::Overloaded | ServeErrorKind::DeadlineExceeded) => &self.stats.refused,
            Err(_) => &self.stats.failed,
        };
        Stats::add(counter, 1);
    }
}

impl Endpoint for Service {
    fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.current().metadata)
    }

    fn ready(&self) -> bool {
        self.current().pool.instances() > 0
    }

    fn infer(&self, request: Request) -> BoxFuture<'_, Result<Answer, ServeError>> {
        async move {
            let begun = Instant::now();
            Stats::add(&self.stats.requests, 1);
            self.cloud.earn();
            let outcome = self.answer(request).await;
            self.count(&outcome);
            if outcome.is_ok() {
                self.stats.took(begun.elapsed());
            }
            outcome
        }
        .boxed()
    }
}

/// One request's way through one revision.
struct Way<'a> {
    service: &'a Service,
    revision: &'a Revision,
    deadline: Option<Instant>,
    samples: usize,
}

/// What a step of the way came to: an error for the client, or inputs back from a revision that was closed.
type Step<T> = Result<Result<T, ServeError>, Closed<NamedTensors>>;

impl Way<'_> {
    async fn walk(&self, inputs: NamedTensors) -> Step<Answer> {
        Stats::add(&self.service.stats.samples, self.samples);
        match &self.revision.mining {
            Some(mining) if mining.stage == Stage::Inputs => self.mine_inputs(inputs).await,
            Some(_) => self.mine_outputs(inputs).await,
            None => {
                let by = if self.service.is_cloud { AnsweredBy::Cloud } else { AnsweredBy::Edge };
                let outcome = self.revision.infer(inputs, self.deadline).await?;
                Ok(outcome.map(|outputs| self.told(outputs, by, Vec::new())))
            }
        }
    }

    fn told(&self, outputs: NamedTensors, answered_by: AnsweredBy, hard: Vec<usize>) -> Answer {
        Answer { outputs, answered_by, hard, versions: self.revision.metadata.versions }
    }

    /// The edge's model answers; then the cloud is asked about what it could not be trusted with.
    async fn mine_outputs(&self, inputs: NamedTensors) -> Step<Answer> {
        let outputs = match self.revision.infer(inputs.clone(), self.deadline).await? {
            Ok(outputs) => outputs,
            Err(error) => return Ok(Err(error)),
        };
        let hard = match self.revision.mine(&outputs, self.deadline).await {
            Ok(hard) => hard,
            Err(error) => return Ok(Err(error)),
        };
        let Some(policy) = self.found_hard(&inputs, &hard) else {
            return Ok(Ok(self.told(outputs, AnsweredBy::Edge, hard)));
        };
        let sent = if policy.sends_outputs { &outputs } else { &inputs };
        Ok(match self.ask(sent, &hard).await {
            // All were hard: whatever the cloud's outputs are, they are the answer.
            Ok(others) if hard.len() == self.samples => Ok(self.told(others, AnsweredBy::Cloud, hard)),
            Ok(others) => Ok(match samples::replace(&outputs, &hard, &others) {
                Ok(outputs) => self.told(outputs, AnsweredBy::Cloud, hard),
                Err(why) => self.told(outputs, self.unlike(&why), hard),
            }),
            Err(why) => self.without_cloud(&policy, why, hard.len()).map(|by| self.told(outputs, by, hard)),
        })
    }

    /// The cloud is asked about hard samples at once; the edge's model runs unless the cloud answered for all.
    async fn mine_inputs(&self, inputs: NamedTensors) -> Step<Answer> {
        let hard = match self.revision.mine(&inputs, self.deadline).await {
            Ok(hard) => hard,
            Err(error) => return Ok(Err(error)),
        };
        let asked = match self.found_hard(&inputs, &hard) {
            None => None,
            Some(policy) => Some((policy, self.ask(&inputs, &hard).await)),
        };
        let (by, others) = match asked {
            None => (AnsweredBy::Edge, None),
            Some((_, Ok(others))) if hard.len() == self.samples => {
                return Ok(Ok(self.told(others, AnsweredBy::Cloud, hard)));
            }
            Some((_, Ok(others))) => (AnsweredBy::Cloud, Some(others)),
            Some((policy, Err(why))) => match self.without_cloud(&policy, why, hard.len()) {
                Ok(by) => (by, None),
                Err(error) => return Ok(Err(error)),
            },
        };
        let outputs = match self.revision.infer(inputs, self.deadline).await? {
            Ok(outputs) => outputs,
            Err(error) => return Ok(Err(error)),
        };
        let Some(others) = others else { return Ok(Ok(self.told(outputs, by, hard))) };
        Ok(match samples::replace(&outputs, &hard, &others) {
            Ok(outputs) => Ok(self.told(outputs, by, hard)),
            Err(why) => Ok(self.told(outputs, self.unlike(&why), hard)),
        })
    }

    /// Counts and keeps hard samples; how the cloud is to be asked about them, if there are any and it is to be.
    fn found_hard(&self, inputs: &NamedTensors, hard: &[usize]) -> Option<Policy> {
        if hard.is_empty() {
            return None;
        }
        Stats::add(&self.service.stats.hard, hard.len());
        if let Some(examples) = &self.revision.examples {
            examples.take(inputs, hard);
        }
        self.service.cloud.policy()
    }

    async fn ask(&self, from: &NamedTensors, hard: &[usize]) -> Result<NamedTensors, Unanswered> {
        let rows = if hard.len() == self.samples {
            from.clone()
        } else {
            samples::select(from, hard).map_err(|error| Unanswered::Failed(error.message))?
        };
        let asked = self.service.cloud.ask(rows, self.deadline).await;
        let stats = &self.service.stats;
        match &asked {
            Err(Unanswered::Absent(_) | Unanswered::Spent) => {}
            Ok(_) => Stats::add(&stats.offloaded, 1),
            Err(Unanswered::TimedOut | Unanswered::Failed(_)) => {
                Stats::add(&stats.offloaded, 1);
                Stats::add(&stats.offload_failures, 1);
            }
        }
        asked
    }

    /// The cloud answered with something that cannot take the place of the edge's, which stands.
    fn unlike(&self, why: &str) -> AnsweredBy {
        Stats::add(&self.service.stats.offload_failures, 1);
        tracing::debug!(why, "the cloud's answer cannot be put into the edge's");
        AnsweredBy::EdgeWithoutCloud
    }

    /// Who answers instead of the cloud, or that nobody does.
    fn without_cloud(&self, policy: &Policy, why: Unanswered, hard: usize) -> Result<AnsweredBy, ServeError> {
        let by = match why {
            Unanswered::TimedOut => AnsweredBy::EdgeAfterTimeout,
            _ => AnsweredBy::EdgeWithoutCloud,
        };
        // What may not be asked is the edge's to answer.
        if !policy.fails_without_cloud || why == Unanswered::Spent {
            return Ok(by);
        }
        let kind = match why {
            Unanswered::TimedOut => ServeErrorKind::DeadlineExceeded,
            _ => ServeErrorKind::Unavailable,
        };
        Err(ServeError::new(kind, format!("{hard} hard samples, which the edge is not to answer: {why}")))
    }
}
