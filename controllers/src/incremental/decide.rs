//! What is to be done about a job: a function of what is observed, without I/O. Called by `reconcile`, which does the
//! actions in order; a stop between any two is made good by deciding again.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use sedge_api::resources::{
    Dataset, DeploymentOutcome, EdgeNode, IncrementalLearningJob, IncrementalLearningJobStatus,
    JointInferenceService, LearningPhase, LearningReport, Model, PinnedLearning, Plugin, ToldVersion, Worker,
    condition, set_condition,
};

use super::names;
use super::report::{Sight, Word, quiet};
use super::resolve::resolve;
use super::service::Target;
use super::workers::{self, Relayed};
use crate::jobs::{JOB_UID_LABEL, Job, Unmet, Upkeep, upkeep};

/// Everything that bears on one job. Resources of other namespaces than the job's are left out.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The job.
    pub job: IncrementalLearningJob,
    /// Plugins; only while its spec is to be taken up.
    pub plugins: Vec<Plugin>,
    /// Models.
    pub models: Vec<Model>,
    /// Datasets; only while its spec is to be taken up.
    pub datasets: Vec<Dataset>,
    /// All nodes.
    pub nodes: Vec<EdgeNode>,
    /// Workers of its namespace.
    pub workers: Vec<Worker>,
    /// Services of its namespace.
    pub services: Vec<Arc<JointInferenceService>>,
    /// The time.
    pub now: Timestamp,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make this Worker, unless one of its name exists.
    DeclareWorker(Box<Worker>),
    /// Replace this Worker, whose spec alone differs from what was observed.
    RewriteWorker(Box<Worker>),
    /// Delete the Worker of this name and uid.
    DeleteWorker {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Make this Model, unless one of its name exists.
    DeclareModel(Box<Model>),
    /// Delete the Model of this name and uid, whose weights are no longer kept.
    DeleteModel {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Make this service, unless one of its name exists.
    DeclareService(Box<JointInferenceService>),
    /// Replace this service, whose spec alone differs from what was observed.
    RewriteService(Box<JointInferenceService>),
    /// Replace the job's status.
    WriteStatus {
        /// As it is to be.
        status: Box<IncrementalLearningJobStatus>,
        /// Not only figures have changed, which may wait.
        at_once: bool,
    },
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// Writes.
    pub actions: Vec<Action>,
    /// Decide again after this, even if nothing is seen to change.
    pub again_after: Option<Duration>,
}

/// Decide.
pub fn decide(observed: &Observed) -> Decision {
    let Some(job) = Job::of(&observed.job) else { return Decision::default() };
    let mut status = observed.job.status.clone().unwrap_or_default();
    let unmet = take_up(observed, &mut status).err();
    let pinned_before = observed.job.status.as_ref().and_then(|status| status.pinned.as_ref());
    let Some(pinned) = status.pinned.clone() else {
        status.phase = LearningPhase::Pending;
        status.reason = unmet.map(|unmet| unmet.reason.to_owned());
        return Decision { actions: Vec::from_iter(written(observed, status)), again_after: None };
    };
    // What is pinned is written down before anybody hears of it.
    if pinned_before != Some(&pinned) {
        return Decision { actions: Vec::from_iter(written(observed, status)), again_after: None };
    }
    let mut decision = Decision::default();
    Learning { observed, job: &job, pinned: &pinned }.run(&mut status, &mut decision);
    if let Some(unmet) = unmet {
        status.reason = Some(unmet.reason.to_owned());
    }
    decision.actions.extend(written(observed, status));
    decision
}

/// Whether the spec is still to be taken up.
pub(super) fn waits(job: &IncrementalLearningJob) -> bool {
    let status = job.status.as_ref();
    status.is_none_or(|s| s.pinned.is_none() || s.observed_generation != job.metadata.generation)
}

/// Take up the spec, unless it was taken up before.
fn take_up(observed: &Observed, status: &mut IncrementalLearningJobStatus) -> Result<(), Unmet> {
    if !waits(&observed.job) {
        return Ok(());
    }
    match resolve(observed, status.pinned.as_ref()) {
        Ok(pinned) => {
            status.pinned = Some(pinned);
            status.observed_generation = observed.job.metadata.generation;
            let word =
                Word { holds: true, reason: "AllFound", message: "all that the job names is there".into() };
            observe(observed, status, "Accepted", &word);
            Ok(())
        }
        Err(unmet) => {
            let word = Word { holds: false, reason: unmet.reason, message: unmet.message.clone() };
            observe(observed, status, "Accepted", &word);
            Err(unmet)
        }
    }
}

/// A job whose spec was taken up.
struct Learning<'a> {
    observed: &'a Observed,
    job: &'a Job,
    pinned: &'a PinnedLearning,
}

impl Learning<'_> {
    fn run(&self, status: &mut IncrementalLearningJobStatus, decision: &mut Decision) {
        let target = Target::find(self.observed, self.job, self.pinned);
        let learner = self.worker(&names::learner(self.job));
        let assessor = self.worker(&names::assessor(self.job));
        // A learner that is begun again has said nothing yet; what the one before it said still holds.
        if let Some(said) = learner.and_then(|learner| learner.status.as_ref()?.learning.clone()) {
            status.learning = Some(said);
        }
        let report = status.learning.clone();
        let report = report.as_ref();

        status.service = Some(target.name.clone());
        status.deployment = outcome(&target, report, status);
        let wanted = target.wanted(report, status.deployment.as_ref());
        self.deploy(&target, wanted.as_ref(), status, decision);
        self.forget(report, wanted.as_ref(), decision);

        let relayed = Relayed {
            assessment: assessor.filter(|worker| self.job.owns(worker)).and_then(workers::assessed),
            deployment: status.deployment.clone(),
        };
        let wants: Vec<Worker> = [
            Some(workers::learner(self.job, self.pinned, &target, relayed)),
            workers::assessor(self.job, self.pinned, &target, report, assessor),
        ]
        .into_iter()
        .flatten()
        .collect();
        for want in &wants {
            self.bring_about(want, decision);
        }
        decision.actions.extend(self.job.surplus(&self.observed.workers, &wants).map(|worker| {
            Action::DeleteWorker { name: worker.name_any(), uid: worker.uid().unwrap_or_default() }
        }));

        let owned = |worker: &&Worker| self.job.owns(worker);
        let sight = Sight {
            observed: self.observed,
            pinned: self.pinned,
            target: &target,
            learner: learner.filter(owned),
            assessor: assessor.filter(owned),
        };
        let (learning, deployed) = (sight.learning(report), sight.deployed(report, wanted.as_ref()));
        sight.conclude(status, &learning, &deployed);
        observe(self.observed, status, "Learning", &learning);
        observe(self.observed, status, "Deployed", &deployed);
    }

    fn worker(&self, name: &str) -> Option<&Worker> {
        self.observed.workers.iter().find(|worker| worker.name_any() == name)
    }

    /// Make the service be as it is to be, and note what it was told.
    fn deploy(
        &self,
        target: &Target<'_>,
        wanted: Option<&ToldVersion>,
        status: &mut IncrementalLearningJobStatus,
        decision: &mut Decision,
    ) {
        if let Some(model) = wanted.and_then(|wanted| target.model_resource(wanted))
            && !self.observed.models.iter().any(|present| present.name_any() == model.name_any())
        {
            decision.actions.push(Action::DeclareModel(Box::new(model)));
        }
        match target.rewritten(status, wanted) {
            Some(service) if target.present.is_some() => {
                decision.actions.push(Action::RewriteService(Box::new(service)));
            }
            Some(service) => decision.actions.push(Action::DeclareService(Box::new(service))),
            None => {}
        }
        if let Some(wanted) = wanted.filter(|_| target.present.is_some()) {
            status.told = Some(wanted.clone());
        }
        if target.taken {
            decision.soon(Duration::from_secs(5));
        }
    }

    /// Delete the Models of versions whose weights are no longer kept.
    fn forget(&self, report: Option<&LearningReport>, wanted: Option<&ToldVersion>, decision: &mut Decision) {
        let Some(report) = report else { return };
        for version in report.versions.iter().filter(|version| version.forgotten && version.number > 0) {
            let reference = names::version(self.job, version.number);
            if wanted.is_some_and(|wanted| wanted.model.reference == reference) {
                continue;
            }
            let of_job = |model: &&Model| {
                model.spec.reference == reference && model.labels().get(JOB_UID_LABEL) == Some(&self.job.uid)
            };
            decision.actions.extend(self.observed.models.iter().filter(of_job).map(|model| {
                Action::DeleteModel { name: model.name_any(), uid: model.uid().unwrap_or_default() }
            }));
        }
    }

    fn bring_about(&self, want: &Worker, decision: &mut Decision) {
        let present = self.worker(&want.name_any());
        match upkeep(self.job, want, present, self.observed.now) {
            Upkeep::AsWanted => {}
            Upkeep::Declare(worker) => decision.actions.push(Action::DeclareWorker(worker)),
            Upkeep::Rewrite(worker) => decision.actions.push(Action::RewriteWorker(worker)),
            Upkeep::Delete { name, uid } => decision.actions.push(Action::DeleteWorker { name, uid }),
            Upkeep::Later(wait) => decision.soon(wait),
        }
    }
}

/// What came of the deployment that the learner wants, or of its latest, of which it may not have heard yet.
fn outcome(
    target: &Target<'_>,
    report: Option<&LearningReport>,
    status: &IncrementalLearningJobStatus,
) -> Option<DeploymentOutcome> {
    let latest = status.deployment.clone();
    let Some(wanted) = report.and_then(|report| report.wants_deployment) else { return latest };
    // Once it is known it stays so, whatever the service does after.
    if latest.as_ref().is_some_and(|outcome| outcome.serial == wanted.serial) {
        return latest;
    }
    // What a service says before it was told is about another version's time.
    let told = status.told.as_ref().filter(|told| told.serial == wanted.serial)?;
    target.outcome(told)
}

impl Decision {
    /// Decide again after `wait` at the latest.
    fn soon(&mut self, wait: Duration) {
        self.again_after = Some(self.again_after.map_or(wait, |before| before.min(wait)));
    }
}

fn observe(observed: &Observed, status: &mut IncrementalLearningJobStatus, kind: &str, word: &Word) {
    let generation = observed.job.metadata.generation;
    let observed = condition(kind, word.holds, word.reason, &word.message, generation, observed.now);
    set_condition(&mut status.conditions, observed);
}

/// The write of `status`, if it says anything new. Every condition is brought to the present generation, which tools
/// that wait for a condition ask for.
fn written(observed: &Observed, mut status: IncrementalLearningJobStatus) -> Option<Action> {
    for condition in &mut status.conditions {
        condition.observed_generation = observed.job.metadata.generation;
    }
    let before = observed.job.status.as_ref();
    (before != Some(&status)).then(|| Action::WriteStatus {
        at_once: before.is_none_or(|before| quiet(before) != quiet(&status)),
        status: Box::new(status),
    })
}

#[cfg(test)]
mod tests;
