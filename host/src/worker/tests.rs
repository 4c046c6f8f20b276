//! The supervisor with a real runtime: what it starts, ends, keeps and forgets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use sedge_api::node::worker::Task;
use sedge_api::node::{self, Desired, WorkerPhase, WorkerRole, WorkerStatus};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::artifacts::Artifacts;
use crate::federation::Federation;
use crate::nn::Graphs;
use crate::runtime::Runtime;
use crate::serving::Services;

const LONG: Duration = Duration::from_secs(30);

struct Stage {
    board: Arc<Board>,
    supervisor: Arc<Supervisor>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Stage {
    fn start(data: &Path) -> Self {
        let open = |path: &Path| Dir::open_ambient_dir(path, cap_std::ambient_authority()).unwrap();
        let datasets = data.join("datasets");
        std::fs::create_dir_all(&datasets).unwrap();
        let (board, shutdown) = (Arc::new(Board::default()), CancellationToken::new());
        let context = Context {
            node: "edge-1".to_owned(),
            artifacts: Artifacts::open(&open(data), String::new()).unwrap(),
            runtime: Runtime::new(&data.join("cache"), Arc::new(Graphs::new(1))).unwrap(),
            shelf: Shelf::new(open(&datasets), Arc::clone(&board), shutdown.clone()),
            federation: Federation::default(),
            services: Services::default(),
            deployments: Arc::new(crate::learning::Deployments::open(open(data)).unwrap()),
            records: Arc::new(open(data)),
        };
        let supervisor = Supervisor::new(open(data), context, Arc::clone(&board)).unwrap();
        let task = tokio::spawn(Arc::clone(&supervisor).run(shutdown.clone()));
        Self { board, supervisor, shutdown, task }
    }

    /// Wait until the board fulfils `condition`.
    async fn until(&self, condition: impl Fn(&node::Status) -> bool) -> node::Status {
        let wait = async {
            loop {
                let status = self.board.everything();
                if condition(&status) {
                    return status;
                }
                // A removal is not a change that is said, so look again soon in any case.
                let _ = tokio::time::timeout(Duration::from_millis(20), self.board.changed()).await;
            }
        };
        tokio::time::timeout(LONG, wait).await.expect("it comes to that")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(LONG, self.task).await.expect("it ends").unwrap();
    }
}

fn trainer(uid: &str) -> node::Worker {
    let digest = sedge_api::Digest::of(b"p").to_string();
    node::Worker {
        uid: uid.to_owned(),
        name: format!("trainer-{uid}"),
        role: WorkerRole::Trainer.into(),
        plugin: Some(node::Artifact { repository: "plugins/p".to_owned(), digest }),
        limits: Some(node::Limits { memory_bytes: 1 << 20, call_millis: 1000 }),
        task: Some(Task::Participation(node::Participation::default())),
        ..node::Worker::default()
    }
}

fn desired(workers: Vec<node::Worker>) -> Desired {
    Desired { workers, datasets: Vec::new() }
}

fn is(status: &WorkerStatus, phase: WorkerPhase, reason: &str) -> bool {
    status.phase() == phase && status.reason == reason
}

#[tokio::test]
async fn a_worker_waits_for_its_plugin_and_is_forgotten_when_no_longer_desired() {
    let data = tempfile::tempdir().unwrap();
    let stage = Stage::start(data.path());
    stage.supervisor.desire(desired(vec![trainer("a"), trainer("b")]));
    // Both want the same plugin; the one that fetches it for both says why it is not there.
    let waits = |worker: &WorkerStatus| is(worker, WorkerPhase::Pending, "RegistryUnreachable");
    stage.until(|status| status.workers.len() == 2 && status.workers.iter().any(waits)).await;
    stage.supervisor.desire(desired(vec![trainer("b")]));
    let folder = data.path().join("workers/a");
    stage.until(|status| status.workers.len() == 1 && !folder.exists()).await;
    assert!(stage.supervisor.log("a").is_none() && stage.supervisor.log("b").is_some());
    stage.stop().await;
    assert!(data.path().join("workers/b").exists(), "a node that goes down forgets nothing");
}

#[tokio::test]
async fn a_worker_whose_end_the_manager_knows_is_not_run_again() {
    let data = tempfile::tempdir().unwrap();
    let stage = Stage::start(data.path());
    let ended = node::Worker { ended: true, ..trainer("ended") };
    stage.supervisor.desire(desired(vec![ended, trainer("other")]));
    let status = stage.until(|status| status.workers.iter().any(|w| w.reason == "RegistryUnreachable")).await;
    assert!(status.workers.iter().all(|worker| worker.uid == "other"), "{status:?}");
    stage.stop().await;
}

#[tokio::test]
async fn a_restarted_node_goes_on_without_its_manager_and_failed_workers_stay_failed() {
    let data = tempfile::tempdir().unwrap();
    let broken = node::Worker { parameters: "[1]".to_owned(), ..trainer("broken") };
    let wanted = desired(vec![trainer("a"), broken]);
    let both = |status: &node::Status| {
        let is_there = |uid: &str, phase, reason: &str| {
            status.workers.iter().any(|worker| worker.uid == uid && is(worker, phase, reason))
        };
        is_there("a", WorkerPhase::Pending, "RegistryUnreachable")
            && is_there("broken", WorkerPhase::Failed, "InvalidDefinition")
    };
    let stage = Stage::start(data.path());
    stage.supervisor.desire(wanted);
    let first = stage.until(both).await;
    stage.stop().await;

    let stage = Stage::start(data.path());
    let again = stage.until(both).await;
    let finished = |status: &node::Status| {
        status.workers.iter().find(|worker| worker.uid == "broken").unwrap().finished_unix_millis
    };
    assert_eq!(finished(&again), finished(&first), "it was not run again");
    let (log, _) = stage.supervisor.log("broken").unwrap().tail(1).unwrap();
    assert!(log.contains("parameters are not a JSON object"), "{log}");
    stage.stop().await;
}

#[tokio::test]
async fn keys_of_a_store_are_waited_for_and_not_kept_on_disk() {
    let data = tempfile::tempdir().unwrap();
    let stage = Stage::start(data.path());
    let dataset = |secret: &str| node::Dataset {
        namespace: "default".to_owned(),
        name: "d".to_owned(),
        format: node::Format::Parquet.into(),
        elsewhere: Some(node::dataset::Elsewhere::S3(node::S3 {
            // Nobody listens there.
            endpoint: "http://127.0.0.1:1".to_owned(),
            bucket: "b".to_owned(),
            access_key_id: if secret.is_empty() { String::new() } else { "the-key".to_owned() },
            secret_access_key: secret.to_owned(),
            signed: true,
            ..node::S3::default()
        })),
        ..node::Dataset::default()
    };
    let want = |secret| {
        stage.supervisor.desire(Desired { workers: Vec::new(), datasets: vec![dataset(secret)] });
    };
    let failed = |reason: &'static str| {
        move |status: &node::Status| status.datasets.first().is_some_and(|dataset| dataset.reason == reason)
    };
    want("");
    stage.until(failed("WaitingForSecret")).await;
    want("hunter2");
    let status = stage.until(failed("Unreachable")).await;
    assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
    let kept = std::fs::read(data.path().join("desired.pb")).unwrap();
    assert!(kept.windows(6).any(|bytes| bytes == b"127.0."), "the store is known after a start");
    assert!(!kept.windows(7).any(|bytes| bytes == b"hunter2" || bytes == b"the-key"), "its keys are not");
    stage.stop().await;
}

#[tokio::test]
async fn a_dataset_is_opened_reported_and_opened_anew_with_its_generation() {
    let data = tempfile::tempdir().unwrap();
    let stage = Stage::start(data.path());
    std::fs::write(data.path().join("datasets/d.csv"), "x,y\n1,0\n2,1\n").unwrap();
    let dataset = |generation| node::Dataset {
        namespace: "default".to_owned(),
        name: "d".to_owned(),
        path: "d.csv".to_owned(),
        format: node::Format::Csv.into(),
        label: "y".to_owned(),
        generation,
        ..node::Dataset::default()
    };
    let want = |datasets| stage.supervisor.desire(Desired { workers: Vec::new(), datasets });
    let at = |generation, samples| {
        move |status: &node::Status| {
            let Some(dataset) = status.datasets.first() else { return false };
            (dataset.ready, dataset.generation, dataset.samples) == (true, generation, samples)
        }
    };
    want(vec![dataset(1)]);
    let status = stage.until(at(1, 2)).await;
    let statistics = &status.datasets[0].statistics;
    assert_eq!((statistics[0].column.as_str(), statistics[0].mean), ("x", Some(1.5)));
    let labels: Vec<_> =
        statistics[1].distinct.iter().map(|label| (label.value.as_str(), label.count)).collect();
    assert_eq!(labels, [("0", 1), ("1", 1)]);
    let columns: Vec<_> = status.datasets[0]
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.dtype.as_str()))
        .collect();
    assert_eq!(columns, [("x", "f32"), ("y", "i64")]);
    std::fs::write(data.path().join("datasets/d.csv"), "x,y\n1,0\n2,1\n3,0\n").unwrap();
    // What is added is read, and a definition that changed is taken up.
    stage.until(at(1, 3)).await;
    want(vec![dataset(2)]);
    stage.until(at(2, 3)).await;
    std::fs::remove_file(data.path().join("datasets/d.csv")).unwrap();
    let status = stage
        .until(|status| status.datasets.first().is_some_and(|dataset| dataset.reason == "NotFound"))
        .await;
    assert!(status.datasets[0].ready && status.datasets[0].samples == 3, "what was read is still granted");
    want(vec![]);
    stage.until(|status| status.datasets.is_empty()).await;
    stage.stop().await;
}
