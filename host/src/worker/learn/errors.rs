//! The errors of the deployed version on rows that have arrived, measured between rounds: what the figure `drift` is of, where a
//! job says so. Which rows, and what their errors come to, is `learning::Errors`'s.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sedge_learning::Step;
use tokio_util::sync::CancellationToken;

use super::Learner;
use crate::data::Dataset;
use crate::learning::Windows;
use crate::runtime::Report;
use crate::worker::Ended;

/// Windows that were measured, and to what. Err: a sentence.
pub(super) type Measured = (Windows, Result<Vec<Report>, String>);

impl<'a> Learner<'a> {
    /// Measure what has not been, if there is enough of it.
    pub(super) fn measure_errors(
        &self,
        step: &Step,
        cancel: &CancellationToken,
    ) -> Option<BoxFuture<'a, Measured>> {
        // Nobody asks for drift while a round is in progress, whose stages have better use for the processor.
        if !matches!(step, Step::Wait { .. }) || self.record.rounds.current().is_some() {
            return None;
        }
        let windows = self.errors.as_ref()?.next(&self.sources)?;
        let cancel = cancel.child_token();
        let measure = self.measure(cancel.clone())?;
        let version = self.artifact(windows.version)?;
        let dataset = Arc::clone(&self.dataset);
        let measured = async move {
            // Dropped, it is ended.
            let _cancel = cancel.drop_guard();
            // Whichever split it reads, these are all rows of it.
            let part = |rows: &Vec<u32>| dataset.part(rows.clone(), rows.clone());
            let parts: Vec<Arc<Dataset>> = windows.rows.iter().map(part).collect();
            let measured = measure.each(&version, parts).await.map_err(|ended| match ended {
                Ended::Failed { reason, message } => format!("{reason}: {message}"),
                Ended::Cancelled => "the measurement was cancelled".to_owned(),
            });
            (windows, measured)
        };
        Some(measured.boxed())
    }

    pub(super) fn errors_measured(&mut self, (windows, measured): Measured) {
        let Some(errors) = &mut self.errors else { return };
        if let Err(why) = errors.measured(&windows, measured, &self.sources) {
            self.reporter.line(&format!("drift is not known: {why}"));
        }
    }
}
