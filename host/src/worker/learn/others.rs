//! What a learner asks of others, and what they say: an evaluation on another node, a deployment to another node or to the
//! serving Worker beside it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sedge_api::node;
use sedge_learning::{Evaluate, Rows, Step};

use super::Learner;
use crate::learning::{Wants, metrics_of, status};
use crate::worker::Ended;

impl Learner<'_> {
    /// What others say of the step that is next or under way. Whether that is another step now.
    pub(super) async fn hear(&mut self, step: &Step) -> Result<bool, Ended> {
        let (now, before) = (Timestamp::now(), self.record.rounds.revision());
        match step {
            Step::Evaluate(evaluate) if self.task.evaluator.is_none() => {
                let Some(said) = self.task.assessment.clone() else { return Ok(false) };
                if (said.round, said.attempt) != (evaluate.round, self.attempt()) {
                    return Ok(false);
                }
                match said.failure.as_str() {
                    "" => {
                        let rows: BTreeMap<String, u64> = said.rows.clone().into_iter().collect();
                        let measured = sedge_learning::Evaluated {
                            candidate: metrics_of(&said.candidate),
                            deployed: metrics_of(&said.deployed),
                            candidate_earlier: metrics_of(&said.candidate_earlier),
                            deployed_earlier: metrics_of(&said.deployed_earlier),
                            samples: said.samples,
                            rows: Rows::try_from(rows).unwrap_or_default(),
                            evaluator: said.evaluator_digest.parse().ok(),
                        };
                        // Out of turn it was heard before.
                        let _ = self.record.rounds.evaluated(evaluate, measured, now);
                    }
                    why => drop(self.record.rounds.failed(step, why, &self.task.plan, now)),
                }
            }
            Step::Deploy(deploy) => {
                let outcome = match self.serves() {
                    Some(worker) => self.context.deployments.outcome(&worker, deploy.serial),
                    None => self.task.deployment.as_ref().filter(|said| said.serial == deploy.serial).map(
                        |said| {
                            if said.kept { Ok(()) } else { Err(said.reason.clone()) }
                        },
                    ),
                };
                match outcome {
                    Some(Ok(())) => {
                        let _ = self.record.rounds.deployed_now(deploy, now);
                        self.reporter.line(&format!("version {} serves", deploy.version.number));
                    }
                    Some(Err(why)) => {
                        let _ = self.record.rounds.refused(step, &why, now);
                        self.reporter
                            .line(&format!("version {} does not serve: {why}", deploy.version.number));
                    }
                    None => {}
                }
            }
            _ => {}
        }
        self.keep().await?;
        Ok(self.record.rounds.revision() != before)
    }

    /// Tries of the present evaluation that have failed.
    fn attempt(&self) -> u32 {
        self.record.rounds.current().map_or(0, |round| round.evaluate.failures)
    }

    /// What it has come to and what it asks for, as the manager is told.
    pub(super) fn show(&mut self, step: &Step) {
        let uploaded =
            |version: u32| version == 0 || self.record.models.get(&version).is_some_and(|kept| kept.uploaded);
        let mut wants = Wants::default();
        match step {
            Step::Evaluate(Evaluate { round, candidate, deployed, earlier })
                if self.task.evaluator.is_none()
                    && uploaded(candidate.number)
                    && uploaded(deployed.number) =>
            {
                wants.assessment = Some(node::WantedAssessment {
                    round: *round,
                    attempt: self.attempt(),
                    candidate: candidate.number,
                    deployed: deployed.number,
                    earlier: earlier.iter().map(|(source, rows)| (source.to_owned(), rows)).collect(),
                });
            }
            Step::Deploy(deploy) if self.task.serves.is_none() && uploaded(deploy.version.number) => {
                let (serial, version) = (deploy.serial, deploy.version.number);
                wants.deployment = Some(node::WantedDeployment { serial, version });
            }
            _ => {}
        }
        let said = status(&self.record, &self.first.digest.to_string(), &self.figures, wants);
        if self.said.as_ref() != Some(&said) {
            self.said = Some(said.clone());
            self.reporter.update(|worker| worker.learning = Some(said));
        }
    }
}
