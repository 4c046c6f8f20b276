//! Asking the cloud: within its deadline and budget, and not while it does not answer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use parking_lot::RwLock;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::breaker::{Breaker, State};
use super::budget::{Budget, Rates};
use super::protocol::client::{Answered, Client, ClientError};
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
    /// Where there is no answer after this, a second request is sent, and the first answer counts.
    pub hedge_after: Option<Duration>,
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
    /// Second requests that were sent.
    hedges: AtomicU64,
}

struct Link {
    policy: Policy,
    budget: Budget,
    /// None: there is no cloud.
    clients: Option<Clients>,
}

/// Each connects when it is first needed.
#[derive(Clone)]
struct Clients {
    first: Client,
    /// For second requests: what holds up the first one's connection does not hold up this.
    second: Client,
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
        Self {
            service: service.to_owned(),
            link: RwLock::default(),
            breaker: Breaker::default(),
            hedges: AtomicU64::new(0),
        }
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
        let clients = match before {
            // The connections stand.
            Some(link) => link.clients.clone(),
            None => {
                self.breaker.reset();
                match policy.endpoint.as_str() {
                    "" => None,
                    endpoint => {
                        let client = || Client::connect_lazy(endpoint).map_err(|error| error.to_string());
                        Some(Clients { first: client()?, second: client()? })
                    }
                }
            }
        };
        *link = Some(Arc::new(Link { budget: Budget::new(policy.rates), policy, clients }));
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

    /// Second requests that were sent.
    pub fn hedges(&self) -> u64 {
        self.hedges.load(Ordering::Relaxed)
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
        let Some(clients) = &link.clients else {
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
        let asked = self.ask_hedged(&link, clients, samples, until);
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

    /// Ask, and once more where the policy says so. What the first request fails with is what it comes to where
    /// neither is answered.
    async fn ask_hedged(
        &self,
        link: &Link,
        clients: &Clients,
        samples: NamedTensors,
        until: Instant,
    ) -> Result<Answered, ClientError> {
        let left = || until.saturating_duration_since(Instant::now());
        let Some(after) = link.policy.hedge_after else {
            return clients.first.infer(&self.service, samples, left()).await;
        };
        // A copy of handles: the elements are shared.
        let mut first = pin!(clients.first.infer(&self.service, samples.clone(), left()));
        if let Ok(outcome) = tokio::time::timeout(after, first.as_mut()).await {
            return outcome;
        }
        if !link.budget.spend(Instant::now()) {
            return first.await;
        }
        self.hedges.fetch_add(1, Ordering::Relaxed);
        let second = pin!(clients.second.infer(&self.service, samples, left()));
        // The one that is not waited for is dropped, which tells the cloud to give it up.
        match select(first, second).await {
            Either::Left((Ok(answer), _)) | Either::Right((Ok(answer), _)) => Ok(answer),
            Either::Left((Err(error), second)) => second.await.map_err(|_| error),
            Either::Right((Err(_), first)) => first.await,
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
            link.as_ref().and_then(|link| Some((&link.clients.as_ref()?.first, link.policy.deadline)))
        else {
            return;
        };
        if self.breaker.begin_trial() {
            let ready = tokio::time::timeout(deadline, client.ready(&self.service)).await;
            self.breaker.end_trial(matches!(ready, Ok(Ok(true))));
        }
    }
}

#[cfg(test)]
mod tests;
