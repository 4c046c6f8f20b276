//! One detector for each column of a table: the features of a sample, or the outputs of a model. Rows of a batch in,
//! the judgement of all out.

use serde::{Deserialize, Serialize};

use crate::detector::{Detector, Judgement, NoReference};
use crate::parameters::ParseError;

/// Columns that are watched at most.
pub const MAX_COLUMNS: usize = 1_024;
/// Values that all columns together may come to hold: 64 MiB.
pub const MAX_VALUES: usize = 8 << 20;

/// A detector per column, all with the same parameters. Where a verdict goes by a chance (`alpha` of `ks`, `delta` of
/// `adwin`), that is divided by the number of columns (Bonferroni), so that it is the chance of any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Detector>", into = "Vec<Detector>")]
pub struct Columns {
    detectors: Vec<Detector>,
}

impl Columns {
    /// The detector called `name` for each of `columns` columns.
    ///
    /// # Errors
    /// As [`Detector::parse`]; no column, or more than [`MAX_COLUMNS`], or than [`MAX_VALUES`] are enough for.
    pub fn parse(name: &str, parameters: &str, columns: usize) -> Result<Self, ParseError> {
        let detector = Detector::parse(name, parameters)?;
        let refused = |why| Err(ParseError::Parameters { name: detector.name(), why });
        if !(1..=MAX_COLUMNS).contains(&columns) {
            return refused(format!("for {columns} columns: it may watch from 1 to {MAX_COLUMNS}"));
        }
        let values = detector.most_values().saturating_mul(columns);
        if values > MAX_VALUES {
            return refused(format!(
                "{columns} columns may come to hold {values} values, more than {MAX_VALUES}: make the reference or \
                 the window smaller"
            ));
        }
        Ok(Self { detectors: vec![detector.one_of(columns); columns] })
    }

    /// How many there are.
    pub fn width(&self) -> usize {
        self.detectors.len()
    }

    /// Each column's detector.
    pub fn detectors(&self) -> &[Detector] {
        &self.detectors
    }

    /// What came before, row by row; see [`Detector::learn`].
    ///
    /// # Errors
    /// A column has no usable value: its detector stays as it was, and so do those after it.
    pub fn learn(&mut self, rows: &[f32]) -> Result<(), NoReference> {
        let width = self.width();
        for (column, detector) in self.detectors.iter_mut().enumerate() {
            detector.learn(rows.iter().skip(column).step_by(width).map(|value| f64::from(*value)))?;
        }
        Ok(())
    }

    /// Rows of a batch, one after the other, each of the width of the table. A row that is not whole is left out.
    pub fn update(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.width().max(1)) {
            for (detector, value) in self.detectors.iter_mut().zip(row) {
                detector.update(f64::from(*value));
            }
        }
    }

    /// The highest score and the column that has it, with drift where any column has drifted; None as long as all have
    /// seen too little.
    pub fn judgement(&self) -> Option<(usize, Judgement)> {
        let judged = self.detectors.iter().map(Detector::judgement).enumerate();
        let judged = judged.filter_map(|(column, judgement)| Some((column, judgement?)));
        judged.reduce(|(at, best), (column, judgement)| {
            let drift = best.drift || judgement.drift;
            let (at, best) = if judgement.score > best.score { (column, judgement) } else { (at, best) };
            (at, Judgement { drift, ..best })
        })
    }

    /// See [`Detector::restart`].
    pub fn restart(&mut self) {
        self.detectors.iter_mut().for_each(Detector::restart);
    }
}

impl From<Columns> for Vec<Detector> {
    fn from(columns: Columns) -> Self {
        columns.detectors
    }
}

impl TryFrom<Vec<Detector>> for Columns {
    type Error = crate::InvalidState;

    fn try_from(detectors: Vec<Detector>) -> Result<Self, crate::InvalidState> {
        let values = detectors.iter().map(Detector::most_values).fold(0, usize::saturating_add);
        if (1..=MAX_COLUMNS).contains(&detectors.len()) && values <= MAX_VALUES {
            return Ok(Self { detectors });
        }
        Err(crate::InvalidState::Settings(format!(
            "{} columns with up to {values} values, more than may be held",
            detectors.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::uniform;

    fn rows(from: u64, shift: f32) -> Vec<f32> {
        (0..1_000).map(|at| uniform(from + at) as f32 + if at % 2 == 1 { shift } else { 0.0 }).collect()
    }

    #[test]
    fn the_column_that_drifts_is_named() {
        for name in ["psi", "ks"] {
            let mut columns = Columns::parse(name, r#"{"window": 400}"#, 2).unwrap();
            columns.learn(&rows(0, 0.0)).unwrap();
            assert_eq!(columns.judgement(), None);
            columns.update(&rows(1_000, 0.0));
            assert!(!columns.judgement().unwrap().1.drift, "{name}");
            columns.update(&rows(2_000, 0.5));
            let (column, judgement) = columns.judgement().unwrap();
            assert_eq!((column, judgement.drift), (1, true), "{name}");
            columns.restart();
            assert_eq!(columns.judgement(), None);
        }
    }

    #[test]
    fn tables_that_are_too_wide_are_refused() {
        for (parameters, columns, word) in [
            ("{}", 0, "from 1 to 1024"),
            ("{}", 1_025, "from 1 to 1024"),
            (r#"{"reference": 100000}"#, 1_000, "smaller"),
        ] {
            let error = Columns::parse("ks", parameters, columns).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(serde_json::from_str::<Columns>("[]").is_err());
    }
}
