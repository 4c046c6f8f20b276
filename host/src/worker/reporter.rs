//! What a worker says of itself: its status goes to the board, its lines to its log.

use std::sync::Arc;

use parking_lot::Mutex;
use sedge_api::node::{self, WorkerPhase, WorkerStatus};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Board;
use super::log::Lines;
use crate::runtime::{Metric, Observer};

/// One worker's voice; clone shares it. It is the [`Observer`] of the worker's plugin.
#[derive(Clone)]
pub(crate) struct Reporter {
    uid: Arc<str>,
    board: Arc<Board>,
    lines: Lines,
    cancel: CancellationToken,
    deadline: Arc<Mutex<Option<Instant>>>,
    /// Whether the guest's progress is the worker's; an aggregator counts rounds instead.
    guest_progress: bool,
}

impl Reporter {
    pub(crate) fn new(
        uid: &str,
        board: Arc<Board>,
        lines: Lines,
        cancel: CancellationToken,
        guest_progress: bool,
    ) -> Self {
        Self { uid: uid.into(), board, lines, cancel, deadline: Arc::default(), guest_progress }
    }

    /// Change the worker's status.
    pub(crate) fn update(&self, change: impl FnOnce(&mut WorkerStatus)) {
        self.board.update_worker(&self.uid, change);
    }

    /// Not at work yet, and why.
    pub(crate) fn pending(&self, reason: &str, message: &str) {
        self.update(|status| {
            status.set_phase(WorkerPhase::Pending);
            reason.clone_into(&mut status.reason);
            message.clone_into(&mut status.message);
        });
    }

    /// At work.
    pub(crate) fn running(&self) {
        self.update(|status| {
            status.set_phase(WorkerPhase::Running);
            status.reason.clear();
            status.message.clear();
        });
    }

    /// A line for the worker's log. Never blocks.
    pub(crate) fn line(&self, line: &str) {
        self.lines.push(line);
    }

    /// When the work under way is worth nothing more; the guest is asked to stop then.
    pub(crate) fn set_deadline(&self, deadline: Instant) {
        *self.deadline.lock() = Some(deadline);
    }
}

impl Observer for Reporter {
    fn log(&self, line: &str) {
        self.line(line);
    }

    fn progress(&self, done: u64, total: u64, metrics: &[Metric]) {
        if !self.guest_progress {
            return;
        }
        let finite = metrics.iter().filter(|metric| metric.value.is_finite()).take(64);
        let metrics: Vec<_> =
            finite.map(|metric| node::Metric { name: metric.name.clone(), value: metric.value }).collect();
        self.update(|status| {
            (status.done, status.total) = (done, total);
            status.metrics = metrics;
        });
    }

    fn should_stop(&self) -> bool {
        self.cancel.is_cancelled() || self.deadline.lock().is_some_and(|deadline| Instant::now() >= deadline)
    }
}
