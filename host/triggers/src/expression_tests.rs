use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn observed() -> Observed {
    let metrics = |figures: &[(&str, f64)]| -> BTreeMap<String, f64> {
        figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    };
    Observed {
        new_samples: Some(120),
        samples: Some(1_120),
        model_made_at: Some(Timestamp::from_second(-90_000).unwrap()),
        hard_share: Some(0.25),
        metrics: metrics(&[("accuracy", 0.9), ("accuracy.class3", 0.5), ("top-5", 0.99)]),
        deployed: metrics(&[("accuracy", 0.5), ("accuracy.class3", 0.6)]),
        ..Observed::default()
    }
}

fn judged(source: &str) -> Result<(bool, String), Unknown> {
    Expression::parse(source)
        .unwrap_or_else(|error| panic!("{source}: {error}"))
        .judge(&observed(), Timestamp::UNIX_EPOCH)
}

#[test]
fn expressions_mean_what_they_say() {
    for (source, holds) in [
        ("newSamples >= 100", true),
        ("newSamples * 2 > samples", false),
        ("newSamples / samples > 0.1 && hardShare < 1", true),
        ("modelAge > days(1) && modelAge == hours(25) && modelAge < minutes(1501)", true),
        ("difference.accuracy > 0.1", true),
        ("difference.accuracy.class3 >= 0", false),
        ("relativeDifference.accuracy >= 0.8 && metrics[\"top-5\"] > 0.9", true),
        ("min(metrics.accuracy, metrics.accuracy.class3) == 0.5", true),
        ("abs(difference[\"accuracy.class3\"]) < 0.11 && max(1, 2) == 2u", true),
        ("!(newSamples < 100) == true", true),
        ("(newSamples > 1000 ? 0.0 : -hardShare) < 0", true),
        ("has(drift) || newSamples - 20 == 100.0", true),
        ("has(drift) ? drift > 0.25 : newSamples >= 100", true),
        ("drift > 0.25 || newSamples >= 100", true),
        ("drift > 0.25 && newSamples >= 1000", false),
        ("newSamples\n  >= 100 // a comment", true),
    ] {
        let (held, reason) = judged(source).unwrap();
        assert_eq!(held, holds, "{source}: {reason}");
    }
}

#[test]
fn reasons_have_the_figures() {
    let (_, reason) = judged("newSamples >= 500 || difference.accuracy > 0.5").unwrap();
    assert_eq!(
        reason,
        "`newSamples >= 500 || difference.accuracy > 0.5` does not hold: newSamples is 120, difference.accuracy is 0.4"
    );
    let (_, reason) = judged("drift > 0.25 || newSamples >= 100").unwrap();
    assert_eq!(
        reason,
        "`drift > 0.25 || newSamples >= 100` holds: newSamples is 120, drift is not known yet"
    );
    let unknown = judged("drift > 0.25 && newSamples >= 100").unwrap_err();
    assert_eq!(unknown.to_string(), "drift is not known yet");
    let unknown = judged("(samples - 1120) / (samples - 1120) > 0.0").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "`(samples - 1120) / (samples - 1120) > 0.0` has no answer: samples is 1120"
    );
}

#[test]
fn what_is_wrong_is_said() {
    let cases: &[(&str, &str)] = &[
        ("", "does not parse as CEL"),
        ("newSamples >=", "does not parse as CEL at line 1"),
        ("newSamples >= 100)", "does not parse as CEL"),
        ("newSample >= 100", "there is no figure `newSample`: there are newSamples, samples"),
        ("accuracy > 0.9", "there is no figure `accuracy`"),
        ("metrics > 0.9", "there is no figure `metrics`"),
        ("newSamples.x > 1", "there is no figure `newSamples.x`"),
        ("newSamples", "is a number: compare it to one"),
        ("1 < 2", "looks at no figure"),
        ("newSamples && drift > 1", "`&&` takes true or false, and has a number"),
        ("!newSamples", "`!` takes true or false, and has a number"),
        ("(drift > 1) + 1 > 2", "`+` takes a number, and has true or false"),
        ("drift == true", "`==` compares a number to true or false"),
        ("drift > 'high'", "text is not part of triggers"),
        ("drift in [1, 2]", "is not part of triggers"),
        ("[1, 2].all(x, x > drift)", "is not part of triggers"),
        ("[1, 2].exists(x, true)", "is not part of triggers"),
        ("{'a': 1}.a > 1", "behind what has no fields"),
        ("metrics[0] > 1", "[] takes a metric's name"),
        ("metrics['a']['b'] > 1", "[] takes a metric's name"),
        ("samples % 100 == 0", "`%` is not part of triggers"),
        ("size('aaa') > samples", "text is not part of triggers"),
        ("int(samples) > 1", "`int` is not part of triggers"),
        ("samples.days() > 1", ".days() is not part of triggers"),
        ("days(1, 2) > samples", "days() takes 1 operands, not 2"),
        ("samples > 1 ? 1 : true", "`? :` gives either a number or true or false"),
        ("has(1)", "has() takes the name of a figure"),
        ("has(drift.x)", "there is no figure `drift.x`"),
        ("has(drift, samples)", "has() takes"),
        ("f0 > 1", "there is no figure `f0`"),
        ("drift > 1 \u{2265} 2", "must be of ASCII characters"),
        ("drift.?x > 1", "unsupported syntax"),
        ("null == null", "null is not part of triggers"),
    ];
    for (source, word) in cases {
        let error = Expression::parse(source).map(|_| ()).expect_err(source);
        assert!(error.contains(word), "{source}: {error}");
    }
    let deep = format!("{}drift{} > 1", "(".repeat(40), ")".repeat(40));
    assert!(Expression::parse(&deep).unwrap_err().contains("more than 32 levels"));
    let long = format!("drift > {}", "1".repeat(MAX_LENGTH));
    assert!(Expression::parse(&long).unwrap_err().contains("at most 1024 characters"));
}

#[test]
fn no_expression_is_too_deep_for_a_small_stack() {
    let repeated = |start: &str, part: &str, end: &str| {
        let count = (MAX_LENGTH - start.len() - end.len()) / part.len();
        format!("{start}{}{end}", part.repeat(count))
    };
    let half = MAX_LENGTH / 2 - 10;
    let sources = [
        repeated("drift", "+1", " > 1"),
        repeated("drift > 1", "||true", ""),
        repeated("", "!", "(drift > 1)"),
        repeated("", "-", "drift > 1"),
        repeated("metrics", ".a", " > 1"),
        repeated("", "drift>1?true:", "true"),
        repeated("true", "?true", ""),
        repeated("metrics", "['a']", ""),
        format!("{}drift{} > 1", "(".repeat(half), ")".repeat(half)),
        format!("{}drift{} > 1", "abs(".repeat(half / 4), ")".repeat(half / 4)),
        "(".repeat(MAX_LENGTH),
        "[".repeat(MAX_LENGTH),
        "{".repeat(MAX_LENGTH),
        "!".repeat(MAX_LENGTH),
        "'".repeat(MAX_LENGTH),
        "a.".repeat(MAX_LENGTH / 2),
    ];
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        for source in sources {
            if let Ok(expression) = Expression::parse(&source) {
                let _ = expression.judge(&observed(), Timestamp::UNIX_EPOCH);
            }
        }
    });
    thread.unwrap().join().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_text_is_an_expression_or_an_error(
        parts in prop::collection::vec(prop::sample::select(vec![
            "drift", "metrics", "metrics.accuracy", ".", "x", "(", ")", "[", "]", "{", "}", "'", "\"", "1", "2.5", "1e999",
            "9223372036854775807", "18446744073709551615u", "0x", "+", "-", "*", "/", "%", "!", "&&", "||", "==", "<", ">=",
            "?", ":", ",", " ", "\n", "in", "has(", "all(", "days(", "min(", "true", "null", "b'", "r\"", "\\", "`", "//",
        ]), 0..24),
    ) {
        if let Ok(expression) = Expression::parse(&parts.concat()) {
            let judged = expression.judge(&observed(), Timestamp::UNIX_EPOCH);
            prop_assert!(!judged.map_or_else(|why| why.to_string(), |(_, reason)| reason).is_empty());
        }
    }

    #[test]
    fn any_bytes_too(source in ".{0,200}") {
        let _ = Expression::parse(&source);
    }
}
