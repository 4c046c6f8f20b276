//! Streams of real data that drift, as they arrive step by step: what comes to be learnt, and what is asked meanwhile.
//!
//! | stream | a step | what drifts |
//! | --- | --- | --- |
//! | [`digits`] | a week | digits 7 to 9 are new in the fourth, the camera tilts from the seventh on, the print fades from the tenth on |
//! | [`electricity`] | four weeks | the market: prices, demand, and from the sixth step on a second state beside the first |

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use sedge_client::{Client, Tensor};

use crate::joint::PATIENCE;
use crate::root;

/// Samples of one request.
const TOGETHER: usize = 64;
/// Weeks of the digits.
const WEEKS: usize = 12;
/// Digits that are asked about and never learnt from.
const ASKED: usize = 450;
const SIDE: usize = 8;
/// Largest value of a pixel.
const WHITE: f32 = 16.0;
/// Rows of four weeks of the electricity market, and how many such steps there are.
const FOUR_WEEKS: usize = 28 * 36;

/// A stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// First line of its file.
    pub heading: String,
    /// What comes, in turn.
    pub steps: Vec<Step>,
}

/// What comes in a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is new since the step before; empty: nothing.
    pub new: &'static str,
    /// Labelled rows that arrive, lines of CSV.
    pub rows: Vec<String>,
    /// What the service is asked in this step. No row of any step has one of these samples.
    pub asked: Vec<Sample>,
}

/// Features and the class.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// As a file's columns have them.
    pub features: Vec<f32>,
    /// Which it is.
    pub class: usize,
}

impl Stream {
    /// Append the rows of `steps` to the file, which is made with its heading where it is not there.
    pub fn append(&self, steps: &[Step], path: &Path) -> Result<()> {
        let mut text = String::new();
        if !path.exists() {
            text = format!("{}\n", self.heading);
            fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        }
        for row in steps.iter().flat_map(|step| &step.rows) {
            text.push_str(row);
            text.push('\n');
        }
        let mut file = File::options().append(true).create(true).open(path)?;
        file.write_all(text.as_bytes()).with_context(|| path.display().to_string())
    }
}

impl Step {
    /// Share of what is asked in this step that `service` answers rightly.
    pub fn accuracy(&self, client: &Client, service: &str) -> Result<f64> {
        let mut right = 0;
        for samples in self.asked.chunks(TOGETHER) {
            let features: Vec<f32> = samples.iter().flat_map(|sample| &sample.features).copied().collect();
            let shape = [samples.len() as u64, (features.len() / samples.len()) as u64];
            let answer = client.infer(service, &[("x", Tensor::new(&shape, &features)?)], PATIENCE)?;
            let probabilities = answer.output("probabilities")?.elements::<f32>()?;
            let classes = probabilities.len() / samples.len();
            ensure!(classes > 1, "`{service}` answered {} samples with {probabilities:?}", samples.len());
            for (sample, of_it) in samples.iter().zip(probabilities.chunks(classes)) {
                let likeliest = of_it.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
                right += usize::from(likeliest.is_some_and(|(class, _)| class == sample.class));
            }
        }
        Ok(right as f64 / self.asked.len() as f64)
    }
}

/// How digits look in a week.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Below which digits come.
    classes: usize,
    /// By which they are turned.
    degrees: f32,
    /// What is left of black against white.
    contrast: f32,
    /// Grey that everything has.
    haze: f32,
}

impl Look {
    fn of(week: usize) -> Self {
        let plain = Self { classes: 10, degrees: 0.0, contrast: 1.0, haze: 0.0 };
        let tilted = Self { degrees: 36.0, ..plain };
        match week {
            0..3 => Self { classes: 7, ..plain },
            3..6 => plain,
            6 => Self { degrees: 12.0, ..plain },
            7 => Self { degrees: 24.0, ..plain },
            8 => tilted,
            9 => Self { contrast: 0.8, haze: 1.5, ..tilted },
            10 => Self { contrast: 0.65, haze: 3.0, ..tilted },
            _ => Self { contrast: 0.5, haze: 4.0, ..tilted },
        }
    }

    fn news(week: usize) -> &'static str {
        match week {
            3 => "digits 7, 8 and 9",
            6 => "tilted by 12°",
            7 => "tilted by 24°",
            8 => "tilted by 36°",
            9 => "contrast 80 %",
            10 => "contrast 65 %",
            11 => "contrast 50 %",
            _ => "",
        }
    }

    /// The pixels, turned about the middle (bilinear), faded, to a tenth.
    fn show(self, pixels: &[f32]) -> Vec<f32> {
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let middle = (SIDE as f32 - 1.0) / 2.0;
        let at = |x: f32, y: f32| {
            let inside = |v: f32| (0.0..SIDE as f32).contains(&v);
            if inside(x) && inside(y) { pixels[y as usize * SIDE + x as usize] } else { 0.0 }
        };
        (0..SIDE * SIDE)
            .map(|place| {
                let (dx, dy) = ((place % SIDE) as f32 - middle, (place / SIDE) as f32 - middle);
                let (x, y) = (cos * dx + sin * dy + middle, cos * dy - sin * dx + middle);
                let (left, top) = (x.floor(), y.floor());
                let (right, below) = (x - left, y - top);
                let value = at(left, top) * (1.0 - right) * (1.0 - below)
                    + at(left + 1.0, top) * right * (1.0 - below)
                    + at(left, top + 1.0) * (1.0 - right) * below
                    + at(left + 1.0, top + 1.0) * right * below;
                ((value * self.contrast + self.haze).clamp(0.0, WHITE) * 10.0).round() / 10.0
            })
            .collect()
    }
}

/// Handwritten digits in twelve weeks. The same seed gives the same stream.
pub fn digits(seed: u64) -> Result<Stream> {
    let (heading, mut digits) = read("digits.csv")?;
    digits.shuffle(&mut StdRng::seed_from_u64(seed));
    let asked = digits.split_off(digits.len() - ASKED);
    let per_week = digits.len() / WEEKS;
    let mut steps = Vec::new();
    for week in 0..WEEKS {
        let look = Look::of(week);
        let seen = |digit: &Sample| Sample { features: look.show(&digit.features), ..digit.clone() };
        // Those that may come already, in the order of the file; what is left over comes later.
        let mut arrived = Vec::new();
        let mut later = Vec::new();
        for digit in digits {
            let comes = digit.class < look.classes && arrived.len() < per_week;
            if comes { arrived.push(digit) } else { later.push(digit) }
        }
        digits = later;
        if look.classes < Look::of(week + 1).classes {
            // New classes come among the others, not before them.
            digits.shuffle(&mut StdRng::seed_from_u64(seed + 1));
        }
        steps.push(Step {
            new: Look::news(week),
            rows: arrived.iter().map(|digit| line(&seen(digit))).collect(),
            asked: asked.iter().filter(|digit| digit.class < look.classes).map(seen).collect(),
        });
    }
    Ok(Stream { heading, steps })
}

/// The electricity market of New South Wales in sixteen times four weeks: does the price rise? Rows of full hours arrive
/// labelled; those between are what is asked.
pub fn electricity() -> Result<Stream> {
    let (heading, rows) = read("electricity.csv")?;
    let step = |(number, rows): (usize, &[Sample])| {
        let of_full_hours = |row: &&Sample| row.features[0] % 2.0 == 0.0;
        Step {
            new: if number == 5 { "a second state joins" } else { "" },
            rows: rows.iter().filter(of_full_hours).map(line).collect(),
            asked: rows.iter().filter(|row| !of_full_hours(row)).cloned().collect(),
        }
    };
    Ok(Stream { heading, steps: rows.chunks(FOUR_WEEKS).enumerate().map(step).collect() })
}

fn line(sample: &Sample) -> String {
    let mut line = String::new();
    for value in &sample.features {
        line.push_str(&value.to_string());
        line.push(',');
    }
    line + &sample.class.to_string()
}

fn read(file: &str) -> Result<(String, Vec<Sample>)> {
    let path = root().join("tests/data").join(file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut lines = text.lines();
    let heading = lines.next().context("a heading")?.to_owned();
    let sample = |line: &str| {
        let mut features = line.split(',').map(str::parse::<f32>).collect::<Result<Vec<_>, _>>()?;
        let class = features.pop().context("a row has a label")? as usize;
        Ok(Sample { features, class })
    };
    Ok((heading, lines.map(sample).collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_digit_comes_once_and_new_ones_not_before_their_week() {
        let stream = digits(0).unwrap();
        assert_eq!(stream, digits(0).unwrap());
        assert_eq!(stream.steps.len(), WEEKS);
        for (week, step) in stream.steps.iter().enumerate() {
            assert_eq!(step.rows.len(), (1_797 - ASKED) / WEEKS);
            let late = step.rows.iter().filter(|row| row.ends_with(",7") || row.ends_with(",9")).count();
            assert_eq!(late > 0, week >= 3, "week {week}");
            assert!(step.rows.iter().all(|row| row.split(',').count() == 65));
        }
        assert_eq!(stream.steps[11].asked.len(), ASKED);
        assert!(stream.steps[0].asked.len() < ASKED);
    }

    #[test]
    fn turning_leaves_the_middle_and_nothing_moves_without_it() {
        let pixels: Vec<f32> = (0..64).map(|place| (place % 17) as f32).collect();
        assert_eq!(Look::of(0).show(&pixels), pixels);
        let quarter = Look { degrees: 90.0, ..Look::of(0) };
        let mut corner = vec![0.0; 64];
        corner[0] = 16.0;
        let turned = quarter.show(&corner);
        assert_eq!(
            (turned[7], turned.iter().sum::<f32>()),
            (16.0, 16.0),
            "the upper left is the upper right"
        );
        let faded = Look { contrast: 0.5, haze: 4.0, ..Look::of(0) }.show(&corner);
        assert_eq!((faded[0], faded[1]), (12.0, 4.0));
    }

    #[test]
    fn what_is_asked_of_the_market_is_not_what_arrives() {
        let stream = electricity().unwrap();
        assert_eq!(stream.steps.len(), 16);
        for step in &stream.steps {
            assert_eq!((step.rows.len(), step.asked.len()), (672, 336));
        }
    }

    #[test]
    fn a_file_gets_its_heading_once() {
        let folder = tempfile::tempdir().unwrap();
        let (stream, path) = (electricity().unwrap(), folder.path().join("a/stream.csv"));
        stream.append(&stream.steps[..1], &path).unwrap();
        stream.append(&stream.steps[1..2], &path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 1 + 2 * 672);
        assert_eq!(text.lines().filter(|line| line.starts_with("half_hour")).count(), 1);
    }
}
