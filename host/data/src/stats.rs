//! Statistics of a dataset's columns, in one pass over each chunk and mergeable: two parts of a dataset, looked at apart,
//! give what the whole would.
//!
//! Means and variances are merged as in Chan, Golub and LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing
//! Sample Variances* (1979); within a chunk, sums are taken of distances from a value near the mean, so that they do not
//! cancel. The standard deviation is that of the population (divisor n).

mod sums;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::sums::{Moments, Sums};
use crate::tensor::{Element, Values, each};

/// Places of a tensor's row that have statistics of their own; those of a wider one are of all its elements together.
pub const MAX_PLACES: usize = 1024;
/// Different labels that are counted.
const MAX_LABELS: usize = 4096;

/// Statistics of a column, or of all of a tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnStats {
    /// The tensor that it is part of.
    pub tensor: String,
    /// The column; of a tensor that is looked at as a whole, empty.
    pub column: String,
    /// Values that there are.
    pub count: u64,
    /// Cells without a value.
    pub missing: u64,
    /// None where there is no value, as below.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// Of those that there are.
    pub mean: Option<f64>,
    /// Of the population.
    pub std: Option<f64>,
    /// Different values of a label, and how often each came; at most 4096 of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<BTreeMap<i64, u64>>,
}

/// Statistics of one tensor.
#[derive(Debug, Clone)]
pub struct TensorStats {
    width: usize,
    places: Vec<Moments>,
    missing: Vec<u64>,
    labels: Option<Labels>,
}

#[derive(Debug, Clone, Default)]
struct Labels {
    /// Of the labels from 0 on, which most are.
    dense: Vec<u64>,
    others: BTreeMap<i64, u64>,
}

impl TensorStats {
    /// Of a tensor with so many elements a sample.
    pub fn new(width: usize, label: bool) -> Self {
        let places = if width > MAX_PLACES { 1 } else { width };
        Self {
            width,
            places: vec![Moments::default(); places],
            missing: vec![0; places],
            labels: (label && width == 1).then(Labels::default),
        }
    }

    /// Look at samples, all of them numbers but for the holes: `holes` are the indices of elements that stand for missing
    /// cells, ascending.
    pub fn look(&mut self, values: &Values, holes: &[usize]) {
        for &hole in holes {
            let place = if self.places.len() == self.width { hole % self.width } else { 0 };
            self.missing[place] += 1;
        }
        each!(values, values => self.look_at(values, holes));
        if let (Some(labels), Values::I64(values)) = (&mut self.labels, values) {
            labels.count(values, holes);
        }
    }

    fn look_at<T: Element>(&mut self, values: &[T], holes: &[usize]) {
        let places = self.places.len();
        if places == 0 || values.is_empty() {
            return;
        }
        // Distances are from the mean so far; at first, from the first sample.
        let shift: Vec<f64> = self
            .places
            .iter()
            .zip(values)
            .map(|(moments, value)| if moments.count > 0 { moments.mean } else { value.to_f64() })
            .map(|shift| if shift.is_finite() { shift } else { 0.0 })
            .collect();
        if places == 1 && holes.is_empty() {
            // Eight at once, as if they were places.
            let mut sums = Sums::new(vec![shift[0]; 8], values[0]);
            sums.add_rows(values);
            (0..8).for_each(|lane| self.places[0].merge(&sums.moments(lane)));
            return;
        }
        let mut sums = Sums::new(shift, values[0]);
        // Most samples have no hole, and the loop of those none of the checks.
        let mut start = 0;
        for &hole in holes {
            let row = hole / places * places;
            if row >= start {
                sums.add_rows(&values[start..row]);
                start = (row + places).min(values.len());
                let mut of_row = holes[holes.partition_point(|&hole| hole < row)..].iter().peekable();
                for (place, &value) in values[row..start].iter().enumerate() {
                    if of_row.next_if_eq(&&(row + place)).is_none() {
                        sums.add(place, value);
                    }
                }
            }
        }
        sums.add_rows(&values[start..]);
        for (place, moments) in self.places.iter_mut().enumerate() {
            moments.merge(&sums.moments(place));
        }
    }

    /// With all that another has seen of the same tensor.
    pub fn merge(&mut self, other: &Self) {
        for (moments, other) in self.places.iter_mut().zip(&other.places) {
            moments.merge(other);
        }
        for (missing, other) in self.missing.iter_mut().zip(&other.missing) {
            *missing += other;
        }
        if let (Some(labels), Some(other)) = (&mut self.labels, &other.labels) {
            for (label, count) in other.all() {
                labels.add(label, count);
            }
        }
    }

    /// As it is shown; `names` of the places.
    pub fn show(&self, tensor: &str, names: &[String]) -> Vec<ColumnStats> {
        let whole = self.places.len() != self.width;
        let shown = self.places.iter().zip(&self.missing).enumerate().map(|(place, (moments, &missing))| {
            let some = |value: f64| (moments.count > 0).then_some(value);
            ColumnStats {
                tensor: tensor.to_owned(),
                column: if whole { String::new() } else { names.get(place).cloned().unwrap_or_default() },
                count: moments.count,
                missing,
                min: some(moments.min),
                max: some(moments.max),
                mean: some(moments.mean),
                std: some((moments.m2.max(0.0) / moments.count.max(1) as f64).sqrt()),
                distinct: self.labels.as_ref().map(|labels| labels.all().collect()),
            }
        });
        shown.collect()
    }
}

impl Labels {
    const DENSE: i64 = 1024;

    fn count(&mut self, values: &[i64], holes: &[usize]) {
        let mut holes = holes.iter().copied().peekable();
        for (index, &value) in values.iter().enumerate() {
            if holes.next_if_eq(&index).is_none() {
                self.add(value, 1);
            }
        }
    }

    fn add(&mut self, label: i64, count: u64) {
        if (0..Self::DENSE).contains(&label) {
            let place = label as usize;
            if self.dense.len() <= place {
                self.dense.resize(place + 1, 0);
            }
            self.dense[place] += count;
        } else if self.others.len() < MAX_LABELS || self.others.contains_key(&label) {
            *self.others.entry(label).or_default() += count;
        }
    }

    fn all(&self) -> impl Iterator<Item = (i64, u64)> {
        let dense = (0..).zip(self.dense.iter().copied()).filter(|(_, count)| *count > 0);
        dense.chain(self.others.iter().map(|(&label, &count)| (label, count)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn missing_cells_and_holes_are_left_out() {
        let mut stats = TensorStats::new(2, false);
        stats.look(&Values::F32(vec![1., 10., 3., 0., 5., 30.]), &[3]);
        let shown = stats.show("x", &["a".into(), "b".into()]);
        assert_eq!(
            (shown[0].count, shown[0].mean, shown[0].min, shown[0].max),
            (3, Some(3.0), Some(1.0), Some(5.0))
        );
        assert_eq!((shown[1].count, shown[1].missing, shown[1].mean), (2, 1, Some(20.0)));
        assert_eq!(shown[1].std, Some(10.0));
        assert_eq!(shown[1].column, "b");
    }

    #[test]
    fn labels_are_counted() {
        let mut stats = TensorStats::new(1, true);
        stats.look(&Values::I64(vec![3, 3, -1, 70_000]), &[]);
        let distinct = stats.show("y", &["y".into()])[0].distinct.clone().unwrap();
        assert_eq!(distinct, BTreeMap::from([(-1, 1), (3, 2), (70_000, 1)]));
    }

    proptest! {
        #[test]
        fn what_is_missing_changes_nothing_of_the_others(
            values in proptest::collection::vec(-1e3f32..1e3, 0..150),
            missing in proptest::collection::vec(any::<bool>(), 150),
            places in 1usize..5,
        ) {
            let values = &values[..values.len() / places * places];
            let holes: Vec<usize> = (0..values.len()).filter(|&index| missing[index]).collect();
            let mut stats = TensorStats::new(places, false);
            stats.look(&Values::F32(values.to_vec()), &holes);
            for (place, shown) in stats.show("x", &[]).into_iter().enumerate() {
                let of_place = (place..values.len()).step_by(places).filter(|&index| !missing[index]);
                let of_place: Vec<f64> = of_place.map(|index| f64::from(values[index])).collect();
                prop_assert_eq!(shown.count, of_place.len() as u64);
                prop_assert_eq!(shown.min, of_place.iter().copied().reduce(f64::min));
                prop_assert_eq!(shown.max, of_place.iter().copied().reduce(f64::max));
            }
        }

        #[test]
        fn parts_give_what_the_whole_gives(
            values in proptest::collection::vec(-1e6f64..1e6, 1..200),
            at in 0usize..200,
            offset in -1e9f64..1e9,
        ) {
            let values: Vec<f64> = values.into_iter().map(|value| value + offset).collect();
            let (first, second) = values.split_at(at.min(values.len()));
            let look = |part: &[f64]| {
                let mut stats = TensorStats::new(1, false);
                stats.look(&Values::F64(part.to_vec()), &[]);
                stats
            };
            let mut merged = look(first);
            merged.merge(&look(second));
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
            for stats in [merged, look(&values)] {
                let shown = stats.show("x", &[]).remove(0);
                prop_assert_eq!(shown.count, values.len() as u64);
                prop_assert!((shown.mean.unwrap() - mean).abs() <= 1e-9 * mean.abs().max(1.0));
                prop_assert!((shown.std.unwrap() - variance.sqrt()).abs() <= 1e-3);
            }
        }
    }
}
