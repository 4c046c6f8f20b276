//! Versions that others are to have go to the registry, when it can be reached, beside whatever the learner does.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sedge_learning::Step;

use super::Learner;
use crate::artifacts::ArtifactError;
use crate::link::backoff::Backoff;
use crate::worker::Ended;

/// The pause between tries to upload.
pub(super) struct Pause {
    backoff: Backoff,
    until: Option<tokio::time::Instant>,
}

impl Pause {
    pub(super) fn new() -> Self {
        Self { backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(15)), until: None }
    }

    pub(super) fn is_over(&self) -> bool {
        self.until.is_none_or(|until| tokio::time::Instant::now() >= until)
    }

    /// Returns when a pause has gone by; never, where there is none.
    pub(super) async fn over(&self) {
        match self.until.filter(|_| !self.is_over()) {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

impl<'a> Learner<'a> {
    /// The next version that others are to have and the registry does not.
    pub(super) fn upload(&self, step: &Step) -> Option<(u32, BoxFuture<'a, Result<(), ArtifactError>>)> {
        let mut numbers = vec![self.record.rounds.deployed().number];
        match step {
            Step::Evaluate(evaluate) if self.task.evaluator.is_none() => {
                numbers.push(evaluate.candidate.number)
            }
            Step::Deploy(deploy) => numbers.push(deploy.version.number),
            _ => {}
        }
        let missing = |number: &u32| self.record.models.get(number).is_some_and(|kept| !kept.uploaded);
        let number = numbers.into_iter().find(missing)?;
        let (artifacts, model) = (Arc::clone(&self.context.artifacts), self.artifact(number)?);
        let (base, tag) = (self.first.clone(), self.task.tag(number));
        let upload = async move { artifacts.upload_model(&model, &base, &tag).await };
        Some((number, upload.boxed()))
    }

    pub(super) async fn uploaded(
        &mut self,
        version: u32,
        uploaded: Result<(), ArtifactError>,
        pause: &mut Pause,
    ) -> Result<(), Ended> {
        match uploaded {
            Ok(()) => {
                *pause = Pause::new();
                if let Some(kept) = self.record.models.get_mut(&version) {
                    kept.uploaded = true;
                }
                self.write().await
            }
            Err(error) => {
                if !error.is_temporary() {
                    self.reporter.line(&format!("version {version} cannot be uploaded: {error}"));
                }
                pause.until = Some(tokio::time::Instant::now() + pause.backoff.next());
                Ok(())
            }
        }
    }
}
