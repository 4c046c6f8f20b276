//! Versions that learners of this node let serving Workers of this node serve, and what came of that.
//!
//! A learner writes; the serving Worker of that name takes the version up in place of its definition's model, and says how
//! that went. What is written lasts: a node that is restarted without its manager serves what it served.

use std::collections::BTreeMap;
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
    /// The deployment's number.
    pub serial: u64,
    /// Repository of the model.
    repository: String,
    /// Of its manifest.
    digest: Digest,
}

impl Deployed {
    pub fn new(serial: u64, model: &Artifact) -> Self {
        Self { serial, repository: model.repository.clone(), digest: model.digest }
    }
}

/// What a serving Worker says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Heard {
    /// Number of the deployment that it took up last, and why it undid it, if it did.
    outcome: Option<(u64, Result<(), String>)>,
    /// Samples that it answered, and hard ones.
    counts: (u64, u64),
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
        self.change(|wanted| wanted.insert(worker.to_owned(), deployed.clone()) != Some(deployed))
    }

    /// Let the Worker serve its definition's model again. Blocking.
    pub fn remove(&self, worker: &str) -> io::Result<()> {
        self.change(|wanted| wanted.remove(worker).is_some())
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

    /// The Worker with the model that it is to serve, and the deployment's number, where there is one.
    pub fn overlay(&self, mut worker: node::Worker) -> (node::Worker, Option<u64>) {
        let deployed = self.wanted.borrow().get(&key(&worker)).cloned();
        let Some(Deployed { serial, repository, digest }) = deployed else { return (worker, None) };
        worker.model = Some(node::Artifact { repository, digest: digest.to_string() });
        (worker, Some(serial))
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
    pub fn tell(&self, worker: &node::Worker, serial: u64, outcome: Result<(), String>) {
        self.say(&key(worker), |heard| heard.outcome = Some((serial, outcome)));
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

    /// What came of the deployment `serial`; none as long as that is not known.
    pub fn outcome(&self, worker: &str, serial: u64) -> Option<Result<(), String>> {
        let heard = self.heard.borrow();
        let (number, outcome) = heard.get(worker)?.outcome.as_ref()?;
        (*number == serial).then(|| outcome.clone())
    }

    /// Share of hard samples in what the Worker answered since its node's present run began.
    pub fn hard_share(&self, worker: &str) -> Option<f64> {
        let (samples, hard) = self.heard.borrow().get(worker)?.counts;
        (samples > 0).then(|| hard as f64 / samples as f64)
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
        let digest = Digest::of(&number.to_le_bytes());
        Deployed::new(number, &Artifact { repository: "models/digits".to_owned(), digest })
    }

    #[test]
    fn a_deployment_takes_the_place_of_the_definitions_model_and_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let deployments = open(&folder);
        assert_eq!(deployments.overlay(worker()), (worker(), None));
        deployments.set("default/digits-edge-n", version(3)).unwrap();
        let (overlaid, serial) = open(&folder).overlay(worker());
        assert_eq!((overlaid.model.unwrap().repository.as_str(), serial), ("models/digits", Some(3)));
        deployments.remove("default/digits-edge-n").unwrap();
        assert_eq!(open(&folder).overlay(worker()), (worker(), None));
    }

    #[test]
    fn what_came_of_it_is_told_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let deployments = open(&folder);
        let heard = deployments.heard();
        deployments.tell(&worker(), 3, Err("it trapped".to_owned()));
        assert!(heard.has_changed().unwrap());
        let outcome = |serial| deployments.outcome("default/digits-edge-n", serial);
        assert_eq!((outcome(2), outcome(3)), (None, Some(Err("it trapped".to_owned()))));
        assert_eq!(deployments.hard_share("default/digits-edge-n"), None);
        deployments.count("default/digits-edge-n", 8, 2);
        assert_eq!(deployments.hard_share("default/digits-edge-n"), Some(0.25));
    }

    #[test]
    fn a_damaged_file_costs_what_it_said_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let deployments = open(&folder);
        deployments.set("default/digits-edge-n", version(1)).unwrap();
        assert_eq!(open(&folder).overlay(worker()).1, Some(1));
    }
}
