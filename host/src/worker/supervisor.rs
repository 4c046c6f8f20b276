//! Makes what runs on this node what the manager wants: starts workers, ends them, keeps how they ended.
//!
//! The link puts the latest `Desired` in; the supervisor's one task compares it with what there is. Each
//! worker is one task with a token of its own. A final status stays, on disk too, until its worker is no
//! longer desired; a worker that failed is not started again.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use cap_std::fs::Dir;
use parking_lot::Mutex;
use prost::Message;
use sedge_api::node::{self, Desired, WorkerPhase, WorkerStatus};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::assess::assess;
use super::definition::{Definition, Part, is_uid};
use super::learn::learn;
use super::log::Lines;
use super::run::{Success, run};
use super::serve::serve;
use super::{Board, Context, Ended, Reporter, WorkerLog, now_millis};
use crate::artifacts::durable;
use crate::federation::Door;
use crate::learning::sweep;

const DESIRED: &str = "desired.pb";
const WORKERS: &str = "workers";
const FINAL: &str = "final.pb";
/// No node holds that many definitions.
const MAX_DESIRED_BYTES: u64 = 64 << 20;

struct Slot {
    /// A worker that serves, learns or assesses hears of each change; another is begun anew.
    wanted: watch::Sender<node::Worker>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The workers of a node.
pub struct Supervisor {
    data: Dir,
    context: Arc<Context>,
    board: Arc<Board>,
    desired: watch::Sender<Option<Desired>>,
    logs: Arc<Mutex<HashMap<String, Arc<WorkerLog>>>>,
}

impl Supervisor {
    pub(crate) fn new(data: Dir, context: Context, board: Arc<Board>) -> io::Result<Arc<Self>> {
        data.create_dir_all(WORKERS)?;
        let kept = durable::read(&data, DESIRED, MAX_DESIRED_BYTES)?;
        let desired = kept.and_then(|bytes| match Desired::decode(bytes.as_slice()) {
            Ok(desired) => Some(desired),
            Err(error) => {
                tracing::warn!(%error, "what was desired before the restart cannot be read; the manager will say it again");
                None
            }
        });
        Ok(Arc::new(Self {
            data,
            context: Arc::new(context),
            board,
            desired: watch::Sender::new(desired),
            logs: Arc::default(),
        }))
    }

    /// What the manager wants now; replaces what it wanted before.
    pub fn desire(&self, desired: Desired) {
        self.desired.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&desired);
            *current = Some(desired);
            changed
        });
    }

    /// The log of a worker of this node.
    pub fn log(&self, uid: &str) -> Option<Arc<WorkerLog>> {
        self.logs.lock().get(uid).cloned()
    }

    /// Until `shutdown`; then every worker is ended and waited for.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut desired = self.desired.subscribe();
        desired.mark_changed();
        let mut slots: HashMap<String, Slot> = HashMap::new();
        // Tasks that were cancelled and may still be ending: who follows under the same uid waits for them.
        let mut ending: HashMap<String, JoinHandle<()>> = HashMap::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = desired.changed() => if changed.is_err() { break },
            }
            let Some(wanted) = desired.borrow_and_update().clone() else { continue };
            self.keep(&wanted).await;
            self.context.shelf.want(wanted.datasets.clone());
            ending.retain(|_, task| !task.is_finished());
            self.apply(wanted, &mut slots, &mut ending, &shutdown).await;
        }
        for slot in slots.values() {
            slot.cancel.cancel();
        }
        for task in slots.into_values().map(|slot| slot.task).chain(ending.into_values()) {
            // A panic of a worker's task has been reported where it happened.
            let _ = task.await;
        }
        self.context.shelf.closed().await;
    }

    async fn apply(
        self: &Arc<Self>,
        wanted: Desired,
        slots: &mut HashMap<String, Slot>,
        ending: &mut HashMap<String, JoinHandle<()>>,
        shutdown: &CancellationToken,
    ) {
        let wanted: HashMap<String, node::Worker> = wanted
            .workers
            .into_iter()
            .filter(|worker| is_uid(&worker.uid))
            .map(|worker| (worker.uid.clone(), worker))
            .collect();
        let gone: Vec<String> = slots.keys().filter(|uid| !wanted.contains_key(*uid)).cloned().collect();
        for uid in gone {
            if let Some(slot) = slots.remove(&uid) {
                slot.cancel.cancel();
                let wanted = slot.wanted.borrow();
                if let Some(node::worker::Task::Aggregation(_)) = &wanted.task {
                    self.context.federation.close(&wanted.job_uid, &uid);
                }
                drop(wanted);
                ending.insert(uid.clone(), tokio::spawn(Arc::clone(self).remove(uid, Some(slot.task))));
            }
        }
        // What a learner deployed that is gone, or deploys elsewhere now, is the definition's model by now, or nobody's.
        let learners = wanted.values().filter_map(|worker| match &worker.task {
            Some(node::worker::Task::Learning(task)) if !task.serves.is_empty() => {
                Some((format!("{}/{}", worker.namespace, task.serves), worker.job_uid.clone()))
            }
            _ => None,
        });
        let (deployments, learners) = (Arc::clone(&self.context.deployments), learners.collect());
        let retained = tokio::task::spawn_blocking(move || deployments.retain(&learners)).await;
        if let Err(error) = retained.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, "a deployment of a learner that is gone stays");
        }
        let jobs = wanted.values().map(|worker| worker.job_uid.clone()).collect();
        if let Err(error) = sweep(&self.context.records, &self.context.artifacts, jobs).await {
            tracing::warn!(%error, "records of jobs that are gone cannot be removed");
        }
        for uid in self.folders().await {
            if !wanted.contains_key(&uid) && !ending.contains_key(&uid) {
                ending.insert(uid.clone(), tokio::spawn(Arc::clone(self).remove(uid, None)));
            }
        }
        for (uid, worker) in wanted {
            let before = match slots.remove(&uid) {
                Some(slot) if *slot.wanted.borrow() == worker || self.is_final(&uid) => {
                    slots.insert(uid, slot);
                    continue;
                }
                Some(slot) if goes_on_as(&slot.wanted.borrow(), &worker) => {
                    slot.wanted.send_replace(worker);
                    slots.insert(uid, slot);
                    continue;
                }
                Some(slot) => {
                    slot.cancel.cancel();
                    Some(slot.task)
                }
                None => ending.remove(&uid),
            };
            let cancel = shutdown.child_token();
            let (wanted, changes) = watch::channel(worker);
            let task = tokio::spawn(Arc::clone(self).worker(changes, before, cancel.clone()));
            slots.insert(uid, Slot { wanted, cancel, task });
        }
    }

    fn is_final(&self, uid: &str) -> bool {
        self.board
            .worker(uid)
            .is_some_and(|status| matches!(status.phase(), WorkerPhase::Succeeded | WorkerPhase::Failed))
    }

    /// One worker, from its folder to its final status.
    async fn worker(
        self: Arc<Self>,
        changes: watch::Receiver<node::Worker>,
        before: Option<JoinHandle<()>>,
        cancel: CancellationToken,
    ) {
        if let Some(before) = before {
            let _ = before.await;
        }
        let wanted = changes.borrow().clone();
        let uid = wanted.uid.clone();
        let opened = {
            let (this, uid) = (Arc::clone(&self), uid.clone());
            tokio::task::spawn_blocking(move || this.open(&uid))
                .await
                .map_err(io::Error::other)
                .and_then(|it| it)
        };
        let mut status = WorkerStatus {
            uid: uid.clone(),
            namespace: wanted.namespace.clone(),
            name: wanted.name.clone(),
            phase: WorkerPhase::Pending.into(),
            started_unix_millis: now_millis(),
            ..WorkerStatus::default()
        };
        let (folder, log, last) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                end(&mut status, Err(Ended::failed("HostError", format!("the worker's folder: {error}"))));
                self.board.put_worker(status);
                return;
            }
        };
        self.logs.lock().insert(uid.clone(), Arc::clone(&log));
        if let Some(last) = last {
            self.show_end(&wanted, &last);
            self.board.put_worker(last);
            return;
        }
        if wanted.ended {
            // Its end is known to the manager but not here, so what was kept of it is lost: only a log may be left.
            return;
        }
        self.board.put_worker(status);
        let (lines, writer) = Lines::new(log);
        let writer = tokio::spawn(writer);
        let counts_rounds = matches!(wanted.task, Some(node::worker::Task::Aggregation(_)));
        let reporter = Reporter::new(&uid, Arc::clone(&self.board), lines, cancel.clone(), !counts_rounds);
        let ended = match Definition::parse(&wanted) {
            _ if goes_on(&wanted) => match &wanted.task {
                Some(node::worker::Task::Learning(_)) => {
                    learn(&self.context, changes, reporter.clone(), cancel.clone()).await
                }
                Some(node::worker::Task::Assessment(_)) => {
                    assess(&self.context, changes, reporter.clone(), cancel.clone()).await
                }
                _ => {
                    serve(&self.context, changes, Arc::clone(&folder), reporter.clone(), cancel.clone()).await
                }
            },
            Ok(definition) => {
                run(&self.context, &definition, Arc::clone(&folder), reporter.clone(), cancel.clone()).await
            }
            Err(why) => Err(Ended::failed("InvalidDefinition", why)),
        };
        if !cancel.is_cancelled() || ended.is_ok() {
            self.finish(&uid, &folder, ended, &reporter).await;
        }
        drop(reporter);
        // The plugin's observer is gone with `run`, so the writer has heard its last line.
        let _ = writer.await;
    }

    /// Keep a worker's end on disk, then show it.
    async fn finish(&self, uid: &str, folder: &Arc<Dir>, ended: Result<Success, Ended>, reporter: &Reporter) {
        let Some(mut status) = self.board.worker(uid) else { return };
        if let Err(Ended::Failed { reason, message }) = &ended {
            reporter.line(&format!("{reason}: {message}"));
        }
        // A call that was cancelled though the worker was not: the host did it.
        let ended = match ended {
            Err(Ended::Cancelled) => Err(Ended::failed("HostError", "the call was cancelled")),
            ended => ended,
        };
        end(&mut status, ended);
        let (folder, bytes) = (Arc::clone(folder), status.encode_to_vec());
        let kept = tokio::task::spawn_blocking(move || durable::replace(&folder, FINAL, &[bytes])).await;
        if let Err(error) = kept.map_err(io::Error::other).and_then(|kept| kept) {
            tracing::warn!(%error, uid, "a worker's end cannot be kept");
        }
        self.board.put_worker(status);
    }

    /// After a restart: participants of a job that ended here are still to learn how.
    fn show_end(&self, wanted: &node::Worker, last: &WorkerStatus) {
        let Ok(Definition { job_uid, part: Part::Aggregate(task), .. }) = Definition::parse(wanted) else {
            return;
        };
        let door = match last.phase() {
            WorkerPhase::Succeeded => Door::Finished { rounds: last.done.try_into().unwrap_or(u32::MAX) },
            _ => Door::Failed(last.message.clone()),
        };
        self.context.federation.set(&job_uid, &wanted.uid, &task.token, door);
    }

    /// Blocking: the worker's folder, its log, and its final status if it has one.
    #[allow(clippy::type_complexity, reason = "taken apart where it is called, once")]
    fn open(&self, uid: &str) -> io::Result<(Arc<Dir>, Arc<WorkerLog>, Option<WorkerStatus>)> {
        let path = format!("{WORKERS}/{uid}");
        self.data.create_dir_all(&path)?;
        let folder = self.data.open_dir(&path)?;
        let log = self.log(uid).map_or_else(|| WorkerLog::open(folder.try_clone()?).map(Arc::new), Ok)?;
        let last = durable::read(&folder, FINAL, MAX_DESIRED_BYTES)?;
        let last = last.and_then(|bytes| WorkerStatus::decode(bytes.as_slice()).ok());
        Ok((Arc::new(folder), log, last))
    }

    /// Forget a worker once its task has ended.
    async fn remove(self: Arc<Self>, uid: String, task: Option<JoinHandle<()>>) {
        if let Some(task) = task {
            let _ = task.await;
        }
        self.board.remove_worker(&uid);
        self.logs.lock().remove(&uid);
        let this = Arc::clone(&self);
        let path = format!("{WORKERS}/{uid}");
        let removed = tokio::task::spawn_blocking(move || this.data.remove_dir_all(path)).await;
        if let Err(error) = removed.map_err(io::Error::other).and_then(|removed| removed)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, uid, "a worker's folder cannot be removed");
        }
    }

    /// Workers that have a folder.
    async fn folders(self: &Arc<Self>) -> Vec<String> {
        let this = Arc::clone(self);
        let listed = tokio::task::spawn_blocking(move || -> io::Result<Vec<String>> {
            let names = this
                .data
                .read_dir(WORKERS)?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect()
        });
        match listed.await.map_err(io::Error::other).and_then(|listed| listed) {
            Ok(names) => names.into_iter().filter(|name| is_uid(name)).collect(),
            Err(error) => {
                tracing::warn!(%error, "the workers' folder cannot be listed");
                Vec::new()
            }
        }
    }

    /// Keep what is desired for a start without the manager.
    async fn keep(self: &Arc<Self>, desired: &Desired) {
        // Without keys of stores: what needs them waits for the manager after a start.
        let mut kept = desired.clone();
        kept.datasets = kept.datasets.into_iter().map(node::Dataset::without_secrets).collect();
        let (this, bytes) = (Arc::clone(self), kept.encode_to_vec());
        let kept = tokio::task::spawn_blocking(move || durable::replace(&this.data, DESIRED, &[bytes])).await;
        if let Err(error) = kept.map_err(io::Error::other).and_then(|kept| kept) {
            tracing::warn!(%error, "what is desired cannot be kept");
        }
    }
}

/// Whether it goes on through changes of its definition, which it hears of.
fn goes_on(worker: &node::Worker) -> bool {
    use node::worker::Task;
    matches!(worker.task, Some(Task::Serving(_) | Task::Learning(_) | Task::Assessment(_)))
}

/// Whether one goes on as the other: a worker does not change what it does.
fn goes_on_as(one: &node::Worker, other: &node::Worker) -> bool {
    let kind = |worker: &node::Worker| worker.task.as_ref().map(std::mem::discriminant);
    goes_on(one) && kind(one) == kind(other)
}

fn end(status: &mut WorkerStatus, ended: Result<Success, Ended>) {
    status.finished_unix_millis = now_millis();
    status.participants.clear();
    match ended {
        Ok(success) => {
            status.set_phase(WorkerPhase::Succeeded);
            status.reason.clear();
            status.message.clear();
            status.result_digest = success.result_digest;
        }
        Err(Ended::Failed { reason, message }) => {
            status.set_phase(WorkerPhase::Failed);
            (status.reason, status.message) = (reason, message);
        }
        Err(Ended::Cancelled) => {}
    }
}
