use std::collections::BTreeMap;

use super::*;

fn spec(yaml: &str) -> TriggerSpec {
    serde_yaml_ng::from_str(yaml).unwrap()
}

fn trigger(yaml: &str) -> Trigger {
    Trigger::parse(&spec(yaml)).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn seconds(count: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + count).unwrap()
}

fn new_samples(count: u64) -> Observed {
    Observed { new_samples: Some(count), ..Observed::default() }
}

fn evaluated(candidate: f64, deployed: f64) -> Observed {
    let accuracy = |value| BTreeMap::from([("accuracy".to_owned(), value)]);
    Observed { metrics: accuracy(candidate), deployed: accuracy(deployed), ..Observed::default() }
}

fn fires(trigger: &Trigger, state: &mut TriggerState, observed: &Observed, now: Timestamp) -> bool {
    matches!(trigger.check(state, observed, now), Decision::Fire { .. })
}

const BETTER_BY_A_TENTH: &str = "condition: {metric: difference.accuracy, operator: '>', threshold: 0.1}";
const ENOUGH: &str = "condition: {metric: newSamples, operator: '>=', threshold: 100}";

#[test]
fn a_much_better_candidate_is_deployed_and_a_worse_one_is_not() {
    let trigger = trigger(BETTER_BY_A_TENTH);
    let decide = |candidate, deployed| {
        trigger.check(&mut TriggerState::default(), &evaluated(candidate, deployed), seconds(0))
    };
    let reason = "difference.accuracy is 0.4, above 0.1".to_owned();
    assert_eq!(decide(0.9, 0.5), Decision::Fire { reason });
    for (candidate, deployed, reason) in [
        (0.5, 0.9, "difference.accuracy is -0.4, not above 0.1"),
        (0.55, 0.5, "difference.accuracy is 0.05, not above 0.1"),
        (0.8, 0.7, "difference.accuracy is 0.10000000000000009, not above 0.1"),
    ] {
        let again = seconds(1);
        let expected = Decision::Wait { cause: Cause::Unmet, reason: reason.to_owned(), again };
        assert_eq!(decide(candidate, deployed), expected, "{candidate} {deployed}");
    }
}

#[test]
fn the_second_and_every_later_round_trains_and_deploys() {
    let (train, deploy) = (trigger(ENOUGH), trigger(BETTER_BY_A_TENTH));
    let (mut training, mut deploying) = (TriggerState::default(), TriggerState::default());
    for round in 0..10 {
        let begin = seconds(round * 60);
        assert!(!fires(&train, &mut training, &new_samples(0), begin), "round {round}");
        assert!(fires(&train, &mut training, &new_samples(100), begin + SignedDuration::from_secs(30)));
        let better = evaluated(0.5 + 0.2, 0.5);
        assert!(
            fires(&deploy, &mut deploying, &better, begin + SignedDuration::from_secs(40)),
            "round {round}"
        );
    }
}

#[test]
fn the_check_period_is_honoured_and_new_samples_fire_within_it() {
    let trigger = trigger(&format!("{ENOUGH}\ncheckPeriod: 60s"));
    let mut state = TriggerState::default();
    let first = trigger.check(&mut state, &new_samples(0), seconds(0));
    let Decision::Wait { cause: Cause::Unmet, again, .. } = first else { panic!("{first:?}") };
    assert_eq!(again, seconds(60));
    let early = trigger.check(&mut state, &new_samples(100), seconds(59));
    assert_eq!(
        early,
        Decision::Wait {
            cause: Cause::CheckPeriod,
            reason: format!("figures are looked at again at {:.3}", seconds(60)),
            again: seconds(60),
        }
    );
    assert!(fires(&trigger, &mut state, &new_samples(100), again));
}

#[test]
fn after_it_fired_it_cools_down() {
    let trigger = trigger(&format!("{ENOUGH}\ncoolDown: 10m"));
    let mut state = TriggerState::default();
    assert!(fires(&trigger, &mut state, &new_samples(100), seconds(0)));
    let cooling = trigger.check(&mut state, &new_samples(100), seconds(599));
    let Decision::Wait { cause: Cause::CoolDown, reason, again } = cooling else { panic!("{cooling:?}") };
    assert_eq!(again, seconds(600));
    assert!(reason.contains("10m"), "{reason}");
    // Also over a restart of the node.
    let mut state: TriggerState = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    assert!(!fires(&trigger, &mut state, &new_samples(100), seconds(599)));
    assert!(fires(&trigger, &mut state, &new_samples(100), seconds(600)));
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up_for_long() {
    let trigger = trigger(&format!("{ENOUGH}\ncoolDown: 10m\ncheckPeriod: 60s"));
    let mut state = TriggerState::default();
    assert!(fires(&trigger, &mut state, &new_samples(100), seconds(86_400)));
    assert!(!fires(&trigger, &mut state, &new_samples(100), seconds(0)));
    assert!(fires(&trigger, &mut state, &new_samples(100), seconds(600)), "one cool-down from there");
}

#[test]
fn outside_of_its_window_it_waits_for_the_opening() {
    let night = "window: {from: '22:00', to: '06:00', timeZone: Europe/Berlin}";
    let trigger = trigger(&format!("{ENOUGH}\n{night}\ncheckPeriod: 10m\ncoolDown: 9h"));
    let mut state = TriggerState::default();
    let closed = trigger.check(&mut state, &new_samples(100), at("2026-07-01T12:00:00Z"));
    let opening = at("2026-07-01T20:00:00Z");
    assert_eq!(
        closed,
        Decision::Wait {
            cause: Cause::Window,
            reason:
                "outside of the daily window 22:00–06:00 Europe/Berlin, which opens at 2026-07-01 22:00 CEST"
                    .to_owned(),
            again: opening,
        }
    );
    assert_eq!(state, TriggerState::default(), "no figure was looked at");
    assert!(fires(&trigger, &mut state, &new_samples(100), opening));
    // The cool-down ends at 07:00, when the window is closed.
    let Decision::Wait { cause: Cause::CoolDown, again, .. } =
        trigger.check(&mut state, &new_samples(100), at("2026-07-02T03:59:00Z"))
    else {
        panic!("it cools down");
    };
    assert_eq!(again, at("2026-07-02T20:00:00Z"));
    // A check that would be next when the window is closed is at its opening.
    let late = trigger.check(&mut TriggerState::default(), &new_samples(0), at("2026-07-02T03:55:00Z"));
    let Decision::Wait { cause: Cause::Unmet, again, .. } = late else { panic!("{late:?}") };
    assert_eq!(again, at("2026-07-02T20:00:00Z"));
}

#[test]
fn a_figure_that_is_missing_is_waited_for() {
    for yaml in [
        "condition: {metric: metrics.accuracy.class9, operator: '>', threshold: 0.5}",
        "expression: metrics.accuracy.class9 > 0.5",
    ] {
        let decision = trigger(yaml).check(&mut TriggerState::default(), &evaluated(0.9, 0.5), seconds(0));
        let reason = "metrics.accuracy.class9 is not known: the last evaluation reported accuracy".to_owned();
        assert_eq!(decision, Decision::Wait { cause: Cause::Unknown, reason, again: seconds(1) });
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_its_field() {
    let said = |yaml: &str| spec(yaml).problems().iter().map(Problem::to_string).collect::<Vec<_>>();
    let problems = said(
        "
        condition: {metric: accuracy, operator: '>', threshold: .nan, tolerance: -1}
        window: {from: '06:00', to: '06:00', timeZone: Europe/Berln}
        ",
    );
    let fields: Vec<_> = problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    assert_eq!(
        fields,
        ["condition.threshold", "condition.tolerance", "condition.metric", "window.to", "window.timeZone"]
    );
    assert!(problems[4].contains("such as Europe/Berlin or UTC"), "{}", problems[4]);
    assert!(said("{}")[0].starts_with("expression: must be there, or a condition"));
    let both = format!("expression: drift > 1\n{ENOUGH}");
    assert!(said(&both)[0].starts_with("condition: must not be there beside an expression"));
    assert!(said("expression: drift >")[0].starts_with("expression: does not parse as CEL"));
    assert_eq!(said(ENOUGH), [""; 0]);
}

#[test]
fn fields_that_do_not_read_say_why() {
    for (yaml, word) in [
        ("{expression: drift > 1, checkPeriod: 1 hour}", "is not a valid period of time"),
        ("{expression: drift > 1, coolDown: 0s}", "is not a valid period of time"),
        ("{expression: drift > 1, checkperiod: 1s}", "unknown field `checkperiod`"),
        ("condition: {metric: drift, operator: '=>', threshold: 1}", "unknown variant `=>`"),
        ("{expression: drift > 1, window: {from: '24:00', to: '06:00', timeZone: UTC}}", "not a time of day"),
        ("{expression: drift > 1, window: {from: '6:00', to: '07:00', timeZone: UTC}}", "not a time of day"),
        ("{expression: drift > 1, window: {from: '06:00', to: '07:00'}}", "missing field `timeZone`"),
    ] {
        let error = serde_yaml_ng::from_str::<TriggerSpec>(yaml).unwrap_err().to_string();
        assert!(error.contains(word), "{yaml}: {error}");
    }
}

#[test]
fn a_spec_reads_back_as_it_was_written() {
    let yaml = "
        expression: newSamples >= 500 || drift > 0.25
        checkPeriod: 30s
        window: {from: '22:00', to: '06:00', timeZone: Europe/Berlin}
        coolDown: 1h
    ";
    let json = serde_json::to_value(spec(yaml)).unwrap();
    assert_eq!(json["window"]["timeZone"], "Europe/Berlin");
    assert_eq!(json["checkPeriod"], "30s");
    assert_eq!(serde_json::from_value::<TriggerSpec>(json).unwrap(), spec(yaml));
}

#[test]
fn a_trigger_may_be_shared_by_threads() {
    const fn shared<T: Send + Sync>() {}
    shared::<Trigger>();
}
