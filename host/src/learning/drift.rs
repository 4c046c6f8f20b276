//! The drift of arriving rows against those that the deployed version was trained on. Called by `worker::learn` when there
//! are rows or versions that it has not seen; it reads each row once, and blocks.

use std::sync::Arc;

use sedge_drift::Columns;
use sedge_learning::{DataRange, Rows};

use super::Sources;
use super::task::DriftTask;
use crate::data::{Dataset, Split};
use crate::nn::{DType, Tensor};

/// Samples that are read at a time.
const BATCH: usize = 256;

/// A detector, and how far it is.
pub(crate) struct Drift {
    task: DriftTask,
    columns: Option<Columns>,
    /// The rows that it was given for what came before end here.
    learnt: Rows,
    /// The rows that it has seen end here.
    seen: Rows,
    /// Why it could not watch when it was asked last.
    failed: Option<String>,
}

impl Drift {
    pub fn new(task: DriftTask) -> Self {
        Self { task, columns: None, learnt: Rows::default(), seen: Rows::default(), failed: None }
    }

    pub fn task(&self) -> &DriftTask {
        &self.task
    }

    /// The score of the rows from `trained` on, against those in `data`. None: there are too few, or they are nothing that it
    /// can watch, which is said in `failure`, once.
    pub fn score(
        &mut self,
        dataset: &Arc<Dataset>,
        sources: &Sources,
        (data, trained): (&DataRange, &Rows),
        failure: impl FnOnce(&str),
    ) -> Option<f64> {
        match self.watch(dataset, sources, data, trained) {
            Ok(score) => {
                self.failed = None;
                score
            }
            Err(why) => {
                if self.failed.as_ref() != Some(&why) {
                    failure(&why);
                    self.failed = Some(why);
                }
                None
            }
        }
    }

    fn watch(
        &mut self,
        dataset: &Arc<Dataset>,
        sources: &Sources,
        data: &DataRange,
        trained: &Rows,
    ) -> Result<Option<f64>, String> {
        let rows = sources.rows();
        if self.learnt != *trained || self.seen.iter().any(|(source, seen)| seen > rows.of(source)) {
            self.columns = None;
        }
        if self.columns.is_none() {
            let DriftTask { detector, parameters, .. } = &self.task;
            // Before anything is read: what it cannot watch costs nothing.
            let mut columns =
                Columns::parse(detector, parameters, width(dataset)?).map_err(|error| error.to_string())?;
            // Without a usable value in some column the detector takes the first that come for what came before.
            let _ = columns.learn(&features(dataset, sources.within(data))?);
            (self.learnt, self.seen) = (trained.clone(), trained.clone());
            self.columns = Some(columns);
        }
        let Some(columns) = &mut self.columns else { return Ok(None) };
        columns.update(&features(dataset, sources.since(&self.seen))?);
        self.seen = rows;
        Ok(columns.judgement().map(|(_, judgement)| judgement.score))
    }
}

/// Features of a row: all columns of floating point, side by side.
fn width(dataset: &Dataset) -> Result<usize, String> {
    let is_float = |dtype| matches!(dtype, DType::F32 | DType::F64);
    let columns = dataset.columns().iter().filter(|column| is_float(column.dtype));
    match columns.map(|column| column.shape.iter().product::<usize>()).sum() {
        0 => Err("the dataset has no features of floating point to detect drift on".to_owned()),
        width => Ok(width),
    }
}

/// The features of rows, one row after the other.
fn features(dataset: &Arc<Dataset>, indices: Vec<u32>) -> Result<Vec<f32>, String> {
    let mut rows = Vec::new();
    let part = dataset.part(indices, Vec::new());
    let mut batches = part.batches(Split::Train, BATCH, None);
    while let Some(batch) = batches.try_next()? {
        let tensors: Vec<Vec<f32>> = batch.iter().filter_map(|(_, tensor)| floats(tensor)).collect();
        let samples = batch.first().map_or(0, |(_, tensor)| tensor.shape()[0]);
        for sample in 0..samples {
            for tensor in &tensors {
                let width = tensor.len() / samples;
                rows.extend_from_slice(&tensor[sample * width..][..width]);
            }
        }
    }
    Ok(rows)
}

fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>().ok().map(<[f32]>::to_vec),
        DType::F64 => Some(tensor.as_slice::<f64>().ok()?.iter().map(|value| *value as f32).collect()),
        _ => None,
    }
}
