//! Comma-separated values. Features become `x` (f32, samples × features), labels become `y` (i64).
//!
//! The first row is a heading unless every cell of it is a number. Cells are trimmed; a byte order mark and
//! blank lines are passed over. Messages count lines and columns from one, as editors and spreadsheets do; a
//! row after a blank line is named by the blank line.

use std::io::Read;

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::DataError;
use crate::nn::Tensor;

/// All columns of the file, labels apart.
pub fn read(file: impl Read, path: &str, label: Option<&str>) -> Result<Vec<(String, Tensor)>, DataError> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(file);
    let mut record = ByteRecord::new();
    let mut next = |record: &mut ByteRecord| {
        reader.read_byte_record(record).map_err(|error| DataError::malformed(path, error))
    };
    if !next(&mut record)? {
        return Err(DataError::malformed(path, "the file is empty"));
    }
    let heading = (!record.iter().all(is_number))
        .then(|| record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect::<Vec<_>>());
    let layout = Layout::new(path, record.len(), heading, label)?;
    if layout.heading.is_some() && !next(&mut record)? {
        return Err(DataError::malformed(path, "a heading, but no samples"));
    }

    let (mut features, mut labels) = (Vec::new(), Vec::new());
    let mut samples = 0;
    loop {
        layout.read_row(&record, &mut features, &mut labels)?;
        samples += 1;
        if !next(&mut record)? {
            break;
        }
    }
    let width = layout.width - usize::from(layout.label.is_some());
    let tensor = |result: Result<Tensor, crate::nn::NnError>| {
        result.map_err(|error| DataError::new("TooLarge", format!("{path}: {error}")))
    };
    let mut columns = vec![("x".to_owned(), tensor(Tensor::from_vec(&[samples, width], features))?)];
    if layout.label.is_some() {
        columns.push(("y".to_owned(), tensor(Tensor::from_vec(&[samples], labels))?));
    }
    Ok(columns)
}

/// As the heading rule has it; `nan` and `inf` are numbers here, so that such a row is refused below and not
/// taken for a heading.
fn is_number(cell: &[u8]) -> bool {
    parse::<f64>(cell).is_some()
}

fn parse<T: std::str::FromStr>(cell: &[u8]) -> Option<T> {
    std::str::from_utf8(cell).ok()?.parse().ok()
}

/// What the first row says of all others.
struct Layout<'a> {
    path: &'a str,
    width: usize,
    heading: Option<Vec<String>>,
    /// Index of the column of labels.
    label: Option<usize>,
}

impl<'a> Layout<'a> {
    fn new(
        path: &'a str,
        width: usize,
        heading: Option<Vec<String>>,
        label: Option<&str>,
    ) -> Result<Self, DataError> {
        let no_such = |what: String| Err(DataError::new("NoSuchLabel", format!("{path}: {what}")));
        let label = match label {
            None => None,
            Some(label) => {
                let names = heading.as_deref().unwrap_or_default();
                let mut bearing = (0..names.len()).filter(|&column| names[column] == label);
                match (bearing.next(), bearing.next(), label.parse::<usize>()) {
                    (Some(column), None, _) => Some(column),
                    (Some(first), Some(second), _) => {
                        let (first, second) = (first + 1, second + 1);
                        return no_such(format!("columns {first} and {second} are both called \"{label}\""));
                    }
                    (None, _, Ok(index)) if index < width => Some(index),
                    (None, _, Ok(index)) => {
                        return no_such(format!(
                            "no column has the index {index}; there are {width} columns"
                        ));
                    }
                    (None, _, Err(_)) if names.is_empty() => {
                        return no_such(format!(
                            "the file has no heading, so the label \"{label}\" must be a zero-based index"
                        ));
                    }
                    (None, _, Err(_)) => return no_such(format!("no column is called \"{label}\"")),
                }
            }
        };
        if label.is_some() && width == 1 {
            return Err(DataError::malformed(
                path,
                "the label is the only column: there is nothing to learn from",
            ));
        }
        Ok(Self { path, width, heading, label })
    }

    fn read_row(
        &self,
        record: &ByteRecord,
        features: &mut Vec<f32>,
        labels: &mut Vec<i64>,
    ) -> Result<(), DataError> {
        if record.len() != self.width {
            let what = format!("expected {} cells, as in the first row, got {}", self.width, record.len());
            return Err(DataError::malformed(&self.at(record), what));
        }
        for (column, cell) in record.iter().enumerate() {
            if self.label == Some(column) {
                let label =
                    integer(cell).ok_or_else(|| self.refuse(record, column, cell, "an integer label"))?;
                labels.push(label);
            } else {
                let value: f32 = parse(cell).ok_or_else(|| self.refuse(record, column, cell, "a number"))?;
                if !value.is_finite() {
                    return Err(self.refuse(record, column, cell, "a finite 32-bit number"));
                }
                features.push(value);
            }
        }
        Ok(())
    }

    /// `file:line`.
    fn at(&self, record: &ByteRecord) -> String {
        let line = record.position().map_or(0, csv::Position::line);
        format!("{}:{line}", self.path)
    }

    fn refuse(&self, record: &ByteRecord, column: usize, cell: &[u8], expected: &str) -> DataError {
        const SHOWN: usize = 40;
        let name =
            self.heading.as_ref().map_or_else(String::new, |names| format!(" (\"{}\")", names[column]));
        let cell: String = String::from_utf8_lossy(cell).chars().take(SHOWN).collect();
        let what = if cell.is_empty() {
            format!("the cell is empty; expected {expected}")
        } else {
            format!("\"{cell}\" is not {expected}")
        };
        DataError::malformed(&self.at(record), format!("column {}{name}: {what}", column + 1))
    }
}

/// An integer, also one that was written by a program which knows floating point alone: `3.0`.
fn integer(cell: &[u8]) -> Option<i64> {
    /// Above, not every integer is a double.
    const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
    parse::<i64>(cell).or_else(|| {
        let value: f64 = parse(cell)?;
        (value.fract() == 0.0 && value.abs() < EXACT).then_some(value as i64)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_text(text: &str, label: Option<&str>) -> Result<Vec<(String, Tensor)>, DataError> {
        read(text.as_bytes(), "d.csv", label)
    }

    #[test]
    fn the_label_goes_by_name_or_index_with_or_without_heading() {
        let cases = [
            ("a,digit,b\n1,7,2\n3,8,4\n", "digit"),
            ("a,digit,b\n1,7,2\n3,8,4\n", "1"),
            ("1,7,2\n3,8,4\n", "1"),
            ("\u{feff}a, digit ,b\r\n1, 7 ,2\r\n\r\n3,8.0,4", "digit"),
        ];
        for (text, label) in cases {
            let columns = read_text(text, Some(label)).unwrap();
            assert_eq!((columns[0].0.as_str(), columns[0].1.shape()), ("x", &[2, 2][..]), "{text}");
            assert_eq!(columns[0].1.as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
            assert_eq!((columns[1].0.as_str(), columns[1].1.as_slice::<i64>().unwrap()), ("y", &[7, 8][..]));
        }
    }

    #[test]
    fn without_a_label_there_are_features_alone() {
        let columns = read_text("1,7,2\n3,8,4\n", None).unwrap();
        assert_eq!(columns.len(), 1);
        assert_eq!(columns[0].1.shape(), [2, 3]);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_column() {
        let y = Some("y");
        let cases = [
            ("", y, "Malformed", "d.csv: the file is empty"),
            ("a,y\n", y, "Malformed", "d.csv: a heading, but no samples"),
            ("a,y\n1,2\n3,4\n5\n", y, "Malformed", "d.csv:4: expected 2 cells, as in the first row, got 1"),
            ("a,y\n1,2\nx,2\n", y, "Malformed", "d.csv:3: column 1 (\"a\"): \"x\" is not a number"),
            ("a,y\n,2\n", y, "Malformed", "d.csv:2: column 1 (\"a\"): the cell is empty; expected a number"),
            ("a,y\n1,2.5\n", y, "Malformed", "d.csv:2: column 2 (\"y\"): \"2.5\" is not an integer label"),
            (
                "a,y\n1,\n",
                y,
                "Malformed",
                "d.csv:2: column 2 (\"y\"): the cell is empty; expected an integer label",
            ),
            ("nan,2\n", Some("1"), "Malformed", "d.csv:1: column 1: \"nan\" is not a finite 32-bit number"),
            ("1e99,2\n", Some("1"), "Malformed", "d.csv:1: column 1: \"1e99\" is not a finite 32-bit number"),
            ("a,b\n1,2\n", y, "NoSuchLabel", "d.csv: no column is called \"y\""),
            ("y,y\n1,2\n", y, "NoSuchLabel", "d.csv: columns 1 and 2 are both called \"y\""),
            ("a,b\n1,2\n", Some("2"), "NoSuchLabel", "d.csv: no column has the index 2; there are 2 columns"),
            (
                "1,2\n",
                y,
                "NoSuchLabel",
                "d.csv: the file has no heading, so the label \"y\" must be a zero-based index",
            ),
            ("y\n1\n", y, "Malformed", "d.csv: the label is the only column: there is nothing to learn from"),
        ];
        for (text, label, reason, message) in cases {
            let error = read_text(text, label).unwrap_err();
            assert_eq!((error.reason, error.message.as_str()), (reason, message), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), label in "[0-9ya]{0,2}") {
            let _ = read(&bytes[..], "d.csv", Some(&label));
        }

        #[test]
        fn no_text_panics(text in "[-0-9.,\"\n a]{0,60}", label in "[0-9ya]{0,2}") {
            let _ = read_text(&text, Some(&label));
        }
    }
}
