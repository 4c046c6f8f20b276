//! All detectors alike: parameters, state that goes to disk and back, values that are no numbers.

use proptest::prelude::*;

use super::*;
use crate::NAMES;
use crate::sampling::uniform;

/// Small enough that a few hundred values bring each to a judgement.
fn parsed(name: &str) -> Detector {
    let parameters = match name {
        "psi" => r#"{"reference": 200, "window": 100, "bins": 4, "threshold": 0.5}"#,
        "ks" => r#"{"reference": 200, "window": 100}"#,
        "adwin" => "{}",
        _ => r#"{"threshold": 10}"#,
    };
    Detector::parse(name, parameters).unwrap()
}

/// Values around 0.2, then around 0.8.
fn stream() -> impl Iterator<Item = f64> {
    (0..1_000).map(|at| uniform(at) * 0.4 + if at < 500 { 0.0 } else { 0.6 })
}

#[test]
fn each_finds_the_change_and_none_before() {
    for name in NAMES {
        let mut detector = parsed(name);
        for (at, value) in stream().enumerate() {
            detector.update(value);
            let drift = detector.judgement().is_some_and(|judgement| judgement.drift);
            assert!(at >= 500 || !drift, "{name} at {at}");
        }
        assert!(detector.judgement().unwrap().drift, "{name}");
        assert_eq!((detector.seen(), detector.skipped()), (1_000, 0));
        detector.restart();
        assert_eq!((detector.judgement(), detector.seen()), (None, 0), "{name}");
    }
}

#[test]
fn a_detector_goes_on_after_a_restart_of_its_node() {
    for name in NAMES {
        for stop in [0, 50, 250, 480, 700] {
            let (mut whole, mut first) = (parsed(name), parsed(name));
            let values: Vec<f64> = stream().collect();
            values.iter().for_each(|value| {
                whole.update(*value);
            });
            values[..stop].iter().for_each(|value| {
                first.update(*value);
            });
            let saved = serde_json::to_string(&first).unwrap();
            let mut second: Detector = serde_json::from_str(&saved).unwrap();
            values[stop..].iter().for_each(|value| {
                second.update(*value);
            });
            let (whole, second) = (whole.judgement().unwrap(), second.judgement().unwrap());
            assert_eq!(whole.drift, second.drift, "{name}, stopped at {stop}");
            assert!((whole.score - second.score).abs() <= 1e-9 * whole.score, "{name}, stopped at {stop}");
        }
    }
}

#[test]
fn a_reference_from_training_data_is_compared_to_at_once() {
    for name in ["psi", "ks"] {
        let mut detector = parsed(name);
        assert!(detector.compares());
        detector.learn(stream().take(500)).unwrap();
        stream().skip(500).take(99).for_each(|value| {
            detector.update(value);
        });
        assert_eq!(detector.judgement(), None, "{name}: the window is not full");
        detector.update(0.7);
        assert!(detector.judgement().unwrap().drift, "{name}");
        assert_eq!(detector.learn([f64::NAN]), Err(NoReference));
        assert!(detector.judgement().unwrap().drift, "{name}: as it was");
        detector.learn(stream().skip(500)).unwrap();
        stream().skip(600).take(100).for_each(|value| {
            detector.update(value);
        });
        assert!(!detector.judgement().unwrap().drift, "{name}: what is new is the reference now");
    }
    assert!(!parsed("adwin").compares() && parsed("adwin").learn([]).is_ok());
}

#[test]
fn what_is_wrong_is_said() {
    let cases = [
        ("kswin", "{}", "there are psi, ks, adwin, page-hinkley"),
        ("psi", r#"{"treshold": 1}"#, "treshold"),
        ("psi", r#"{"threshold": "high"}"#, "string \"high\""),
        ("psi", r#"{"bins": 1}"#, "bins of 1 is not from 2 to 1000"),
        ("psi", r#"{"smoothing": 0}"#, "smoothing"),
        ("psi", r#"{"window": 5}"#, "window of 5"),
        ("ks", r#"{"alpha": 1}"#, "alpha of 1 is not between 0 and 1"),
        ("ks", r#"{"reference": 1000000000}"#, "reference"),
        ("adwin", r#"{"delta": 0}"#, "delta"),
        ("adwin", r#"{"clock": 0}"#, "clock"),
        ("page-hinkley", r#"{"direction": "left"}"#, "left"),
        ("page-hinkley", r#"{"alpha": 1.5}"#, "alpha"),
        ("page-hinkley", r#"{"minInstances": -1}"#, "-1"),
        ("adwin", "[]", "adwin"),
    ];
    for (name, parameters, word) in cases {
        let error = Detector::parse(name, parameters).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn state_that_contradicts_itself_is_refused() {
    for name in NAMES {
        let mut detector = parsed(name);
        stream().take(400).for_each(|value| {
            detector.update(value);
        });
        let saved = serde_json::to_value(&detector).unwrap();
        let mut changed = 0;
        // Every number of it made absurd, one at a time.
        for at in 0.. {
            let mut copy = saved.clone();
            let Some(path) = spoil(&mut copy, at) else { break };
            changed += 1;
            if let Ok(mut read) = serde_json::from_value::<Detector>(copy) {
                // What is taken must be able to go on.
                stream().for_each(|value| {
                    read.update(value);
                });
                assert!(read.judgement().is_none_or(|judgement| !judgement.score.is_nan()), "{name}: {path}");
            }
        }
        assert!(changed > 10, "{name}");
    }
    let psi = serde_json::to_string(&parsed("psi")).unwrap();
    let error = serde_json::from_str::<Detector>(&psi.replace("\"bins\":4", "\"bins\":0")).unwrap_err();
    assert!(error.to_string().contains("bins of 0"), "{error}");
}

/// Make the number `at` of `value` absurd; None where it has fewer.
fn spoil(value: &mut serde_json::Value, at: usize) -> Option<String> {
    fn walk(value: &mut serde_json::Value, left: &mut usize, path: String) -> Option<String> {
        match value {
            serde_json::Value::Number(number) => {
                if *left == 0 {
                    let whole = number.is_u64();
                    *value = if whole { u64::MAX.into() } else { (-1e300).into() };
                    return Some(path);
                }
                *left -= 1;
                None
            }
            serde_json::Value::Array(items) => {
                items.iter_mut().enumerate().find_map(|(i, item)| walk(item, left, format!("{path}/{i}")))
            }
            serde_json::Value::Object(items) => {
                items.iter_mut().find_map(|(key, item)| walk(item, left, format!("{path}/{key}")))
            }
            _ => None,
        }
    }
    walk(value, &mut { at }, String::new())
}

proptest! {
    #[test]
    fn any_values_are_taken_or_counted(
        name in prop::sample::select(&NAMES[..]),
        values in prop::collection::vec(any::<f64>(), 0..600),
    ) {
        let mut detector = parsed(name);
        values.iter().for_each(|value| {
 detector.update(*value); });
        prop_assert_eq!(detector.seen() + detector.skipped(), values.len() as u64);
        prop_assert!(detector.judgement().is_none_or(|judgement| judgement.score >= 0.0));
        let saved = serde_json::to_string(&detector).unwrap();
        prop_assert!(serde_json::from_str::<Detector>(&saved).is_ok());
    }
}
