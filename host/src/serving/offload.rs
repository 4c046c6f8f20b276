//! Asking the cloud: within its deadline and budget, and not while it does not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::breaker::{Breaker, State};
use super::budget::{Budget, Rates};
use super::protocol::client::{Client, ClientError};
use crate::link::backoff::Backoff;
use crate::runtime::NamedTensors;

/// Waits before the cloud is tried again.
const FIRST_TRIAL: Duration = Duration::from_millis(200);
const LONGEST_TRIAL: Duration = Duration::from_secs(10);

/// When and how the cloud is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Policy {
    /// `http://host:port`; empty: there is no cloud.
    pub endpoint: String,
    /// From the decision to ask to the answer.
    pub deadline: Duration,
    pub rates: Rates,
    /// Send what the edge's model put out rather than what came in.
    pub sends_outputs: bool,
    /// A request whose hard samples the cloud did not answer fails.
    pub fails_without_cloud: bool,
}

/// The cloud's side of one service.
pub(super) struct Cloud {
    /// What the service is called there.
    service: String,
    link: RwLock<Option<Arc<Link>>>,
    breaker: Breaker,
}

struct Link {
    policy: Policy,
    budget: Budget,
    /// None: there is no cloud.
    client: Option<Client>,
}

/// Why the cloud did not answer.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Unanswered {
    /// It was not asked, for there is none that answers.
    #[error("{0}")]
    Absent(&'static str),
    /// It was not asked, to keep to the budget.
    #[error("the budget for asking the cloud is spent")]
    Spent,
    /// It did not answer in time.
    #[error("the cloud did not answer in time")]
    TimedOut,
    /// It answered with an error, or could not be reached.
    #[error("the cloud: {0}")]
    Failed(String),
}

impl Cloud {
    pub fn new(service: &str) -> Self {
        Self { service: service.to_owned(), link: RwLock::default(), breaker: Breaker::default() }
    }

    /// Ask as `policy` says from now on; Err: its endpoint is none.
    pub fn set(&self, policy: Option<Policy>) -> Result<(), String> {
        let mut link = self.link.write();
        let Some(policy) = policy else {
            *link = None;
            return Ok(());
        };
        let before = link.as_ref().filter(|link| link.policy.endpoint == policy.endpoint);
        if before.is_some_and(|link| link.policy == policy) {
            return Ok(());
        }
        let client = match before {
            // The connection stands.
            Some(link) => link.client.clone(),
            None => {
                self.breaker.reset();
                match policy.endpoint.as_str() {
                    "" => None,
                    endpoint => Some(Client::connect_lazy(endpoint).map_err(|error| error.to_string())?),
                }
            }
        };
        *link = Some(Arc::new(Link { budget: Budget::new(policy.rates), policy, client }));
        Ok(())
    }

    /// How the cloud is asked now; None: not at all.
    pub fn policy(&self) -> Option<Policy> {
        self.link.read().as_ref().map(|link| link.policy.clone())
    }

    /// A request has come, of which such a share may be asked about.
    pub fn earn(&self) {
        if let Some(link) = &*self.link.read() {
            link.budget.earn();
        }
    }

    pub fn breaker(&self) -> State {
        self.breaker.state()
    }

    /// Ask about samples; `deadline` is that of the whole request.
    pub async fn ask(
        &self,
        samples: NamedTensors,
        deadline: Option<Instant>,
    ) -> Result<NamedTensors, Unanswered> {
        let link = self.link.read().clone();
        let Some(link) = link else { return Err(Unanswered::Absent("the service has no cloud")) };
        let Some(client) = &link.client else {
            return Err(Unanswered::Absent("no node serves the cloud's side"));
        };
        if self.breaker.state() != State::Closed {
            return Err(Unanswered::Absent("the cloud does not answer"));
        }
        let now = Instant::now();
        if !link.budget.spend(now) {
            return Err(Unanswered::Spent);
        }
        let until = now + link.policy.deadline;
        let ours = deadline.is_none_or(|deadline| until <= deadline);
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        let asked = client.infer(&self.service, samples, until - now);
        match tokio::time::timeout_at(until.into(), asked).await {
            Ok(Ok(answer)) => Ok(answer.outputs),
            Ok(Err(ClientError::Refused { message, .. })) => Err(Unanswered::Failed(message)),
            Ok(Err(ClientError::TimedOut)) | Err(_) => {
                // A client that gives little time says nothing of the cloud.
                if ours {
                    self.breaker.trip();
                }
                Err(Unanswered::TimedOut)
            }
            Ok(Err(error)) => {
                self.breaker.trip();
                Err(Unanswered::Failed(error.to_string()))
            }
        }
    }

    /// While it does not answer, try in the background whether it does again, until `cancel`.
    pub async fn watch(&self, cancel: CancellationToken) {
        cancel
            .run_until_cancelled(async {
                loop {
                    self.breaker.opened().await;
                    let mut backoff = Backoff::new(FIRST_TRIAL, LONGEST_TRIAL);
                    while self.breaker.state() != State::Closed {
                        tokio::time::sleep(backoff.next()).await;
                        self.try_again().await;
                    }
                }
            })
            .await;
    }

    async fn try_again(&self) {
        let link = self.link.read().clone();
        let Some((client, deadline)) =
            link.as_ref().and_then(|link| Some((link.client.as_ref()?, link.policy.deadline)))
        else {
            return;
        };
        if self.breaker.begin_trial() {
            let ready = tokio::time::timeout(deadline, client.ready(&self.service)).await;
            self.breaker.end_trial(matches!(ready, Ok(Ok(true))));
        }
    }
}
