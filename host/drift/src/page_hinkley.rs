//! Page–Hinkley test: whether the mean of a stream has risen or fallen for good.
//!
//! With x̄ the mean of all values since the start, and x one of them,
//! m ← α·m + (x − x̄ − δ) and M ← min(M, m): the mean has risen where m − M > λ;
//! m′ ← α·m′ + (x − x̄ + δ) and M′ ← max(M′, m′): it has fallen where M′ − m′ > λ.
//!
//! Page, *Continuous Inspection Schemes* (1954), and Hinkley, *Inference about the change-point from cumulative sum tests*
//! (1971); with the fading factor α of Gama, Sebastião and Rodrigues, *On evaluating stream learning algorithms* (2013),
//! where α = 1 forgets nothing. δ (`delta`) is the change that is tolerated, λ (`threshold`) in the unit of the values:
//! larger finds less by mistake and later. After drift the test begins anew, with the next value.

use serde::{Deserialize, Serialize};

use crate::detector::{InvalidState, Judgement};
use crate::sampling::usable;

/// Which change is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// The mean rises, as that of errors does.
    Up,
    /// It falls, as an accuracy does.
    Down,
    /// Either.
    #[default]
    Both,
}

/// What the detector is set to; the crate's table has the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// λ.
    pub threshold: f64,
    /// δ.
    pub delta: f64,
    /// α.
    pub alpha: f64,
    /// Drift is not found before so many values.
    pub min_instances: u64,
    /// Which change is looked for.
    pub direction: Direction,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: 50.0,
            delta: 0.005,
            alpha: 1.0 - 1e-4,
            min_instances: 30,
            direction: Direction::Both,
        }
    }
}

/// The detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PageHinkley {
    settings: Settings,
    sums: Sums,
    /// The highest score since the last restart, once there was one.
    highest: Option<f64>,
    /// How often it found drift since then.
    detections: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    seen: u64,
    mean: f64,
    rising: f64,
    lowest: f64,
    falling: f64,
    highest: f64,
}

impl PageHinkley {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, sums: Sums::default(), highest: None, detections: 0 }
    }

    /// One usable value. True where drift is found with it.
    pub(crate) fn update(&mut self, value: f64) -> bool {
        let Settings { threshold, delta, alpha, min_instances, direction } = self.settings;
        let sums = &mut self.sums;
        sums.seen += 1;
        sums.mean += (value - sums.mean) / sums.seen as f64;
        let deviation = value - sums.mean;
        sums.rising = alpha * sums.rising + deviation - delta;
        sums.lowest = sums.lowest.min(sums.rising);
        sums.falling = alpha * sums.falling + deviation + delta;
        sums.highest = sums.highest.max(sums.falling);
        if sums.seen < min_instances {
            return false;
        }
        let (up, down) = (sums.rising - sums.lowest, sums.highest - sums.falling);
        let score = match direction {
            Direction::Up => up,
            Direction::Down => down,
            Direction::Both => up.max(down),
        };
        self.highest = Some(self.highest.unwrap_or(0.0).max(score));
        let drift = score > threshold;
        if drift {
            self.detections += 1;
            self.sums = Sums::default();
        }
        drift
    }

    /// None before the least number of values.
    pub fn judgement(&self) -> Option<Judgement> {
        let score = self.highest?;
        Some(Judgement { score, drift: self.detections > 0, p_value: None })
    }

    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.settings.clone());
    }

    pub(crate) fn check(&self) -> Result<(), InvalidState> {
        crate::parameters::page_hinkley(&self.settings).map_err(InvalidState::Settings)?;
        let Sums { seen, mean, rising, lowest, falling, highest } = self.sums;
        let numbers = [rising, lowest, falling, highest, self.highest.unwrap_or(0.0)];
        // As many values as no stream has: what is added to them does not overflow.
        let counts = [seen, self.detections].into_iter().all(|count| count < u64::MAX / 2);
        if usable(mean) && numbers.iter().all(|number| number.is_finite()) && counts {
            return Ok(());
        }
        Err(InvalidState::Contradiction { detector: "page-hinkley" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(direction: Direction, values: impl IntoIterator<Item = f64>) -> Option<usize> {
        let settings = Settings { threshold: 5.0, direction, ..Settings::default() };
        let mut detector = PageHinkley::new(settings);
        values.into_iter().position(|value| detector.update(value))
    }

    #[test]
    fn a_rise_and_a_fall_are_told_apart() {
        let step = |from: f64, to: f64| (0..200).map(move |at| if at < 100 { from } else { to });
        assert!(found(Direction::Up, step(0.0, 1.0)).is_some_and(|at| (100..120).contains(&at)));
        assert!(found(Direction::Down, step(1.0, 0.0)).is_some_and(|at| (100..120).contains(&at)));
        assert_eq!(found(Direction::Down, step(0.0, 1.0)), None);
        assert_eq!(found(Direction::Up, step(1.0, 0.0)), None);
        for (from, to) in [(0.0, 1.0), (1.0, 0.0)] {
            assert!(found(Direction::Both, step(from, to)).is_some());
        }
    }

    #[test]
    fn a_judgement_remembers_until_the_restart() {
        let mut detector = PageHinkley::new(Settings { threshold: 5.0, ..Settings::default() });
        assert_eq!(detector.judgement(), None);
        (0..100).for_each(|_| {
            detector.update(0.0);
        });
        assert!(!detector.judgement().unwrap().drift);
        (0..100).for_each(|_| {
            detector.update(1.0);
        });
        let judgement = detector.judgement().unwrap();
        assert!(judgement.drift && judgement.score > 5.0, "{judgement:?}");
        detector.restart();
        assert_eq!(detector.judgement(), None);
    }
}
