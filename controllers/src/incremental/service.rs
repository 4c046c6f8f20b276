//! The service that versions are deployed to: which it is, what it is told to serve, and what came of that. Called by
//! `decide`.

use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use sedge_api::resources::{
    DeploymentOutcome, IncrementalLearningJobStatus, JointInferenceService, JointInferenceServiceSpec,
    LearningReport, Model, ModelSpec, NodeSelection, OffloadPolicy, OwnInferencer, PinnedArtifact,
    PinnedLearning, RolloutState, ServingSide, Side, ToldVersion, WantedDeployment,
};

use super::{Observed, names};
use crate::jobs::Job;
use crate::joint::side_worker;

/// The service of a job, and what there is of it.
pub(super) struct Target<'a> {
    job: &'a Job,
    pinned: &'a PinnedLearning,
    pub name: String,
    pub side: ServingSide,
    /// Absent: it is not there, or it is another's although the job is to have one of its own of that name.
    pub present: Option<&'a JointInferenceService>,
    /// The job's own is to be, and another owner has its name.
    pub taken: bool,
}

impl<'a> Target<'a> {
    pub fn find(observed: &'a Observed, job: &'a Job, pinned: &'a PinnedLearning) -> Self {
        let (name, side, own) = match &pinned.spec.deploy.service {
            Some(target) => (target.name.clone(), target.side, false),
            None => (job.name.clone(), ServingSide::Edge, true),
        };
        let found = observed.services.iter().map(AsRef::as_ref).find(|service| service.name_any() == name);
        let is_own = |service: &JointInferenceService| {
            service.owner_references().iter().any(|owner| owner.uid == job.uid)
        };
        let taken = own && found.is_some_and(|service| !is_own(service));
        Self { job, pinned, name, side, present: found.filter(|_| !taken), taken }
    }

    fn own(&self) -> Option<&OwnInferencer> {
        self.pinned.spec.deploy.inferencer.as_ref()
    }

    /// The serving Worker that the learner swaps itself: where it is on its node, and the service is on no other.
    pub fn local_worker(&self) -> Option<String> {
        let node = &self.pinned.train.node;
        let nodes = match self.own() {
            Some(own) => self.nodes(own),
            None => self.present?.spec.edge.nodes.clone(),
        };
        let alone = nodes.selector.is_none()
            && nodes.names.iter().all(|name| name == node)
            && !nodes.names.is_empty();
        (self.side == ServingSide::Edge && alone)
            .then(|| side_worker(&self.name, ServingSide::Edge, Some(node)))
    }

    fn nodes(&self, own: &OwnInferencer) -> NodeSelection {
        match own.nodes.is_empty() {
            true => NodeSelection { names: vec![self.pinned.train.node.clone()], selector: None },
            false => own.nodes.clone(),
        }
    }

    /// What it is to serve: what the learner wants deployed, unless that was undone, or else what it says to be deployed.
    /// None: nothing that is known to be in the registry, or of a service that is not the job's own, nothing yet.
    pub fn wanted(
        &self,
        report: Option<&LearningReport>,
        deployment: Option<&DeploymentOutcome>,
    ) -> Option<ToldVersion> {
        let undone = |wanted: &WantedDeployment| {
            deployment.is_some_and(|outcome| outcome.serial == wanted.serial && !outcome.kept)
        };
        let (serial, number) = match report {
            None => (0, 0),
            Some(report) => match report.wants_deployment.filter(|wanted| !undone(wanted)) {
                Some(wanted) => (wanted.serial, wanted.version),
                None => (report.serial, report.deployed),
            },
        };
        if serial == 0 && self.own().is_none() {
            return None;
        }
        let model = self.model(report, number)?;
        Some(ToldVersion { serial, version: number, model })
    }

    /// The model that a version is, once the registry has it.
    pub fn model(&self, report: Option<&LearningReport>, number: u32) -> Option<PinnedArtifact> {
        if number == 0 {
            return Some(self.pinned.model.clone());
        }
        let version = report?.version(number).filter(|version| version.uploaded && !version.forgotten)?;
        Some(PinnedArtifact { reference: names::version(self.job, number), digest: version.model? })
    }

    /// The Model that stands for a version; none for version 0, which was there before the job. It outlives the job.
    pub fn model_resource(&self, told: &ToldVersion) -> Option<Model> {
        (told.version > 0).then(|| Model {
            metadata: ObjectMeta {
                name: Some(told.model.reference.resource_name()),
                namespace: Some(self.job.namespace.clone()),
                labels: Some(self.job.labels()),
                ..ObjectMeta::default()
            },
            spec: ModelSpec {
                reference: told.model.reference.clone(),
                digest: Some(told.model.digest),
                engine: self.pinned.engines.engine.clone(),
                graphs: self.pinned.engines.graphs.clone(),
            },
            status: None,
        })
    }

    /// The service as it is to be, where it is to be another than it is.
    pub fn rewritten(
        &self,
        status: &IncrementalLearningJobStatus,
        wanted: Option<&ToldVersion>,
    ) -> Option<JointInferenceService> {
        let Some(own) = self.own() else { return self.changed(status, wanted) };
        if self.taken {
            return None;
        }
        let Some(present) = self.present else { return Some(self.made(own, wanted?)) };
        let model = wanted.map(|wanted| wanted.model.reference.clone());
        let spec = self.spec(own, model.or_else(|| present.spec.edge.model.clone()));
        (present.spec != spec && present.metadata.deletion_timestamp.is_none()).then(|| {
            let mut service = present.clone();
            service.spec = spec;
            service
        })
    }

    /// A service that is not the job's own is told once, so that whoever changes its model later has the last word. One
    /// that undid what it was told goes back to what it serves.
    fn changed(
        &self,
        status: &IncrementalLearningJobStatus,
        wanted: Option<&ToldVersion>,
    ) -> Option<JointInferenceService> {
        let present = self.present.filter(|service| service.metadata.deletion_timestamp.is_none())?;
        let side = present.spec.side(self.side)?;
        let told = status.told.as_ref();
        let reference = match wanted {
            Some(wanted) if told != Some(wanted) => wanted.model.reference.clone(),
            Some(_) => return None,
            None => {
                let undone = told.filter(|told| side.model.as_ref() == Some(&told.model.reference))?;
                status
                    .deployment
                    .as_ref()
                    .filter(|outcome| outcome.serial == undone.serial && !outcome.kept)?;
                present.status.as_ref()?.current.as_ref()?.spec.side(self.side)?.model.clone()?
            }
        };
        let mut service = present.clone();
        let side = match self.side {
            ServingSide::Edge => &mut service.spec.edge,
            ServingSide::Cloud => service.spec.cloud.as_mut()?,
        };
        if side.model.as_ref() == Some(&reference) {
            return None;
        }
        side.model = Some(reference);
        Some(service)
    }

    fn made(&self, own: &OwnInferencer, told: &ToldVersion) -> JointInferenceService {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.job.namespace.clone()),
            labels: Some(self.job.labels()),
            owner_references: Some(vec![self.job.owner.clone()]),
            ..ObjectMeta::default()
        };
        let spec = self.spec(own, Some(told.model.reference.clone()));
        JointInferenceService { metadata, spec, status: None }
    }

    fn spec(&self, own: &OwnInferencer, model: Option<sedge_api::ArtifactRef>) -> JointInferenceServiceSpec {
        JointInferenceServiceSpec {
            edge: Side {
                plugin: own.plugin.clone(),
                model,
                parameters: own.parameters.clone(),
                nodes: self.nodes(own),
                instances: own.instances,
                queue: own.queue,
                batching: own.batching,
                resources: own.resources,
            },
            cloud: None,
            hard_example_mining: own.hard_example_mining.clone(),
            offload: OffloadPolicy::default(),
            rollout: own.rollout.clone(),
        }
    }

    /// What came of telling it `told`; none as long as that is not known.
    pub fn outcome(&self, told: &ToldVersion) -> Option<DeploymentOutcome> {
        let service = self.present?;
        let status = service.status.as_ref()?;
        let asked = service.spec.side(self.side)?.model.as_ref() == Some(&told.model.reference);
        if !asked || status.observed_generation != service.metadata.generation {
            return None;
        }
        let rollout = status.rollout.as_ref()?;
        let current = status.current.as_ref()?;
        let serves = rollout.revision == current.revision && self.serves(told);
        let kept = match rollout.state {
            RolloutState::Complete if serves => true,
            RolloutState::Undone if !serves => false,
            _ => return None,
        };
        Some(DeploymentOutcome {
            serial: told.serial,
            kept,
            reason: rollout.message.clone().unwrap_or_default(),
        })
    }

    /// Whether the revision that it wants of all nodes is of that version.
    pub fn serves(&self, told: &ToldVersion) -> bool {
        let current = self.present.and_then(|service| service.status.as_ref()?.current.as_ref());
        let side = current.and_then(|current| match self.side {
            ServingSide::Edge => Some(&current.edge),
            ServingSide::Cloud => current.cloud.as_ref(),
        });
        side.and_then(|side| side.model.as_ref()).is_some_and(|model| model.digest == told.model.digest)
    }

    /// Share of hard examples, to a hundredth, that it might not be told anew with every request.
    pub fn hard_share(&self) -> Option<f64> {
        let share = self.present?.status.as_ref()?.hard_share?;
        Some((share * 100.0).round() / 100.0)
    }
}
