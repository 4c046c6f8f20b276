//! Versions that learners of this node let serving Workers of this node serve, and what came of that.
//!
//! A learner writes; the serving Worker of that name takes the version up in place of its definition's model, and says how
//! that went. What is written lasts: a node that is restarted without its manager serves what it served.

use std::collections::{BTreeMap, HashSet};
use std::io;

use cap_std::fs::Dir;
use parking_lot::Mutex;
use sedge_api::{Digest, node};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::artifacts::{Artifact, durable};

const FILE: &str = "deployments.json";
const MAX_BYTES: u64 = 1 << 20;

/// What a serving Worker is to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deployed {
    /// Uid of the job that deploys it.
    job: String,
    /// The deployment's number, counted by the job.
    pub serial: u64,
    /// Repository of the model.
    repository: String,
    /// Of its manifest.
    digest: Digest,
}

impl Deployed {
    pub fn new(job: &str, serial: u64, model: &Artifact) -> Self {
        Self { job: job.to_owned(), serial, repository: model.repository.clone(), digest: model.digest }
    }
}

/// What a serving Worker says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Heard {
    /// The deployment that it took up last, and why it undid it, if it did.
    outcome: Option<(Deployed, Result<(), String>)>,
    /// Samples that it answered, and hard ones.
    counts: (u64, u64),
    /// Those of them before that deployment.
    before: (u64, u64),
}

/// Deployments by namespace/name of the serving Worker.
pub(crate) struct Deployments {
    data: Dir,
    wanted: watch::Sender<BTreeMap<String, Deployed>>,
    heard: watch::Sender<BTreeMap<String, Heard>>,
    /// One writes at a time.
    writing: Mutex<()>,
}

impl Deployments {
    /// Read what was written below the node's data directory. Blocking.
    pub fn open(data: Dir) -> io::Result<Self> {
        let wanted = match durable::read(&data, FILE, MAX_BYTES)? {
            None => BTreeMap::new(),
            Some(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, "{FILE} cannot be read; services serve their definitions' models until learners say more");
                BTreeMap::new()
            }),
        };
        let heard = watch::Sender::default();
        Ok(Self { data, wanted: watch::Sender::new(wanted), heard, writing: Mutex::default() })
    }

    /// Let the Worker serve this. Blocking.
    pub fn set(&self, worker: &str, deployed: Deployed) -> io::Result<()> {
        if self.is_of_another(worker, &deployed.job) {
            return Err(io::Error::other(format!("another job of this node deploys to {worker} already")));
        }
        self.change(|wanted| wanted.insert(worker.to_owned(), deployed.clone()) != Some(deployed))
    }

    /// Let the Worker serve its definition's model again. Blocking.
    pub fn remove(&self, worker: &str) -> io::Result<()> {
        self.change(|wanted| wanted.remove(worker).is_some())
    }

    /// Let all Workers serve their definitions' models but those that one of these jobs, by its uid, deploys to. Blocking.
    pub fn retain(&self, jobs: &HashSet<(String, String)>) -> io::Result<()> {
        let of_one = |worker: &String, deployed: &Deployed| {
            jobs.iter().any(|(name, job)| name == worker && *job == deployed.job)
        };
        self.change(|wanted| {
            let before = wanted.len();
            wanted.retain(|worker, deployed| of_one(worker, deployed));
            wanted.len() != before
        })
    }

    /// Whether another job than the one of this uid deploys to the Worker.
    pub fn is_of_another(&self, worker: &str, job: &str) -> bool {
        self.wanted.borrow().get(worker).is_some_and(|deployed| deployed.job != job)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Deployed>) -> bool) -> io::Result<()> {
        let _writing = self.writing.lock();
        let mut wanted = self.wanted.borrow().clone();
        if !change(&mut wanted) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&wanted).map_err(io::Error::other)?;
        // Written before anybody hears of it: a restart serves what was served.
        durable::replace(&self.data, FILE, &[bytes])?;
        self.wanted.send_replace(wanted);
        Ok(())
    }

    /// The Worker with the model that it is to serve, and the deployment, where there is one.
    pub fn overlay(&self, mut worker: node::Worker) -> (node::Worker, Option<Deployed>) {
        let deployed = self.wanted.borrow().get(&key(&worker)).cloned();
        if let Some(Deployed { repository, digest, .. }) = &deployed {
            worker.model =
                Some(node::Artifact { repository: repository.clone(), digest: digest.to_string() });
        }
        (worker, deployed)
    }

    /// Whether the Worker is to serve that, or without one its definition's model.
    pub fn is(&self, worker: &str, deployed: Option<&Deployed>) -> bool {
        self.wanted.borrow().get(worker) == deployed
    }

    /// Hears when what Workers are to serve has changed.
    pub fn watch(&self) -> watch::Receiver<BTreeMap<String, Deployed>> {
        self.wanted.subscribe()
    }

    /// The Worker took up a deployment, or undid it.
    pub fn tell(&self, worker: &node::Worker, deployed: Deployed, outcome: Result<(), String>) {
        self.say(&key(worker), |heard| {
            if outcome.is_ok() && heard.outcome.as_ref().is_none_or(|(last, _)| *last != deployed) {
                heard.before = heard.counts;
            }
            heard.outcome = Some((deployed, outcome));
        });
    }

    /// The Worker has answered so many samples, of which so many were hard.
    pub fn count(&self, worker: &str, samples: u64, hard: u64) {
        self.say(worker, |heard| heard.counts = (samples, hard));
    }

    fn say(&self, worker: &str, change: impl FnOnce(&mut Heard)) {
        self.heard.send_if_modified(|all| {
            let before = all.get(worker).cloned().unwrap_or_default();
            let mut now = before.clone();
            change(&mut now);
            let changed = now != before;
            all.insert(worker.to_owned(), now);
            changed
        });
    }

    /// Hears when a Worker has said something.
    pub fn heard(&self) -> watch::Receiver<BTreeMap<String, Heard>> {
        self.heard.subscribe()
    }

    /// What came of the deployment; none as long as that is not known.
    pub fn outcome(&self, worker: &str, deployed: &Deployed) -> Option<Result<(), String>> {
        let heard = self.heard.borrow();
        let (taken_up, outcome) = heard.get(worker)?.outcome.as_ref()?;
        (taken_up == deployed).then(|| outcome.clone())
    }

    /// Share of hard samples in what the Worker answered since the deployment that it took up last, or its node's start.
    pub fn hard_share(&self, worker: &str) -> Option<f64> {
        let heard = self.heard.borrow();
        let Heard { counts, before, .. } = heard.get(worker)?;
        // A service that was begun anew counts from zero.
        let since = |now: u64, before: u64| if now >= before { now - before } else { now };
        let (samples, hard) = (since(counts.0, before.0), since(counts.1, before.1));
        (samples > 0).then(|| hard.min(samples) as f64 / samples as f64)
    }
}

/// namespace/name.
fn key(worker: &node::Worker) -> String {
    format!("{}/{}", worker.namespace, worker.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> Deployments {
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        Deployments::open(dir).unwrap()
    }

    fn worker() -> node::Worker {
        let model = node::Artifact { repository: "models/first".to_owned(), digest: String::new() };
        let (namespace, name) = ("default".to_owned(), "digits-edge-n".to_owned());
        node::Worker { namespace, name, model: Some(model), ..node::Worker::default() }
    }

    fn version(number: u64) -> Deployed {
        of_job("1a", number)
    }

    fn of_job(job: &str, number: u64) -> Deployed {
        let digest = Digest::of(&number.to_le_bytes());
        Deployed::new(job, number, &Artifact { repository: "models/digits".to_owned(), digest })
    }

    #[test]
    fn a_deployment_takes_the_place_of_the_definitions_model_and_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let deployments = open(&folder);
        assert_eq!(deployments.overlay(worker()), (worker(), None));
        deployments.set("default/digits-edge-n", version(3)).unwrap();
        let (overlaid, deployed) = open(&folder).overlay(worker());
        let repository = overlaid.model.unwrap().repository;
        assert_eq!((repository.as_str(), deployed), ("models/digits", Some(version(3))));
        deployments.remove("default/digits-edge-n").unwrap();
        assert_eq!(open(&folder).overlay(worker()), (worker(), None));
    }

    #[test]
    fn a_worker_is_one_jobs_until_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let deployments = open(&folder);
        let name = "default/digits-edge-n";
        deployments.set(name, version(1)).unwrap();
        let refused = deployments.set(name, of_job("2b", 1)).unwrap_err();
        assert!(refused.to_string().contains("another job"), "{refused}");
        let of = |job: &str| HashSet::from([(name.to_owned(), job.to_owned())]);
        deployments.retain(&of("1a")).unwrap();
        assert_eq!(deployments.overlay(worker()).1, Some(version(1)));
        deployments.retain(&of("2b")).unwrap();
        assert_eq!(open(&folder).overlay(worker()).1, None);
        deployments.set(name, of_job("2b", 1)).unwrap();
    }

    #[test]
    fn what_came_of_it_is_told_by_job_number_and_model() {
        let folder = tempfile::tempdir().unwrap();
        let deployments = open(&folder);
        let heard = deployments.heard();
        deployments.tell(&worker(), version(3), Err("it trapped".to_owned()));
        assert!(heard.has_changed().unwrap());
        let outcome = |deployed| deployments.outcome("default/digits-edge-n", &deployed);
        assert_eq!((outcome(version(2)), outcome(version(3))), (None, Some(Err("it trapped".to_owned()))));
        assert_eq!(outcome(of_job("2b", 3)), None, "a job that was made anew counts from one again");
        assert_eq!(deployments.hard_share("default/digits-edge-n"), None);
        deployments.count("default/digits-edge-n", 8, 2);
        assert_eq!(deployments.hard_share("default/digits-edge-n"), Some(0.25));
        deployments.tell(&worker(), version(4), Ok(()));
        assert_eq!(deployments.hard_share("default/digits-edge-n"), None, "it is of the version that serves");
        deployments.count("default/digits-edge-n", 10, 4);
        assert_eq!(deployments.hard_share("default/digits-edge-n"), Some(1.0));
    }

    #[test]
    fn a_damaged_file_costs_what_it_said_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let deployments = open(&folder);
        deployments.set("default/digits-edge-n", version(1)).unwrap();
        assert_eq!(open(&folder).overlay(worker()).1, Some(version(1)));
    }
}
