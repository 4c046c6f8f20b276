//! What the manager is told of a dataset.

use sedge_api::node::{self, DatasetStatus};

use super::definition::classes;
use crate::data::Dataset;

/// Columns whose statistics are told.
const STATISTICS: usize = 64;
/// Values of a label that are told.
const DISTINCT: usize = 64;
/// Problems that are told in words.
const PROBLEMS: usize = 16;

/// Of a dataset of which nothing is known yet.
pub fn unknown(wanted: &node::Dataset) -> DatasetStatus {
    DatasetStatus {
        namespace: wanted.namespace.clone(),
        name: wanted.name.clone(),
        generation: wanted.generation,
        ..DatasetStatus::default()
    }
}

/// Of one that was read.
pub fn read(
    wanted: &node::Dataset,
    dataset: &sedge_data::Dataset,
    granted: Option<&Dataset>,
) -> DatasetStatus {
    let found = dataset.status();
    let columns = granted.map(Dataset::columns).unwrap_or_default();
    DatasetStatus {
        ready: granted.is_some(),
        samples: found.samples as u64,
        test_samples: found.test as u64,
        files: found.files as u64,
        changed_unix_millis: found
            .changed
            .map_or(0, |time| u64::try_from(time.as_millisecond()).unwrap_or(0)),
        columns: columns.iter().map(column).collect(),
        statistics: found
            .stats
            .into_iter()
            .take(STATISTICS)
            .map(|stats| statistics(stats, dataset.description()))
            .collect(),
        problems: found.problems.count,
        first_problems: found.problems.first.iter().take(PROBLEMS).map(ToString::to_string).collect(),
        ..unknown(wanted)
    }
}

fn column(column: &crate::data::Column) -> node::Column {
    node::Column {
        name: column.name.clone(),
        dtype: column.dtype.to_string(),
        shape: column.shape.iter().map(|size| *size as u64).collect(),
    }
}

fn statistics(
    stats: sedge_data::ColumnStats,
    description: &sedge_data::Description,
) -> node::ColumnStatistics {
    let names =
        classes(description, &stats.tensor).map(|classes| classes.names.as_slice()).unwrap_or_default();
    let value = |label: i64| {
        let name = usize::try_from(label).ok().and_then(|place| names.get(place));
        name.map_or_else(|| label.to_string(), Clone::clone)
    };
    node::ColumnStatistics {
        count: stats.count,
        missing: stats.missing,
        min: stats.min,
        max: stats.max,
        mean: stats.mean,
        std: stats.std,
        distinct: stats
            .distinct
            .into_iter()
            .flatten()
            .take(DISTINCT)
            .map(|(label, count)| node::Distinct { value: value(label), count })
            .collect(),
        tensor: stats.tensor,
        column: stats.column,
    }
}
