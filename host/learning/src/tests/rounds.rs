//! Rounds that go well, candidates that are kept out, and what holds both up.

use super::*;

#[test]
fn a_candidate_of_0_9_against_0_5_is_deployed_at_a_threshold_of_0_1() {
    let mut job = Job::new();
    job.rows(99);
    let (until, why) = job.wait();
    assert_eq!((until, why.as_str()), (Some(1), "newSamples is 99, not at least 100"));
    job.rows(120);
    job.pass(1);
    let train = job.train();
    assert_eq!((train.round, train.start.number, train.start.digest), (1, 0, digest(0)));
    assert_eq!(train.data.to_string(), "rows 0–119");
    assert_eq!(job.stages(job.rounds.current().unwrap()), ["running", "waiting", "waiting"]);
    assert_eq!(job.rounds.current().unwrap().why, "newSamples is 120, at least 100");
    let number = job.measured(0.9, 0.5);
    let deploy = job.deploy();
    assert_eq!((deploy.cause, deploy.version.number), (DeployCause::Round(1), number));
    assert_eq!((deploy.version.digest.clone(), deploy.instead_of.number), (digest(1), 0));
    job.rounds.deployed_now(&deploy, job.now).unwrap();
    job.restart();
    let round = &job.rounds.past()[0];
    assert_eq!(job.stages(round), ["completed", "completed", "completed"]);
    assert_eq!((round.outcome, round.ended_at), (Some(Outcome::Deployed), Some(job.now)));
    assert_eq!(job.states(), [(0, "superseded"), (1, "deployed")]);
    assert_eq!(job.rounds.deployed().reason, "difference.accuracy is 0.4, above 0.1");
}

#[test]
fn the_second_and_every_later_round_trains_and_deploys() {
    let mut job = Job::new();
    for round in 1..=30 {
        job.rows(u64::from(round) * 100);
        if round > 1 {
            while let Step::Forget(forget) = job.next() {
                job.rounds.forgotten(&forget);
            }
        }
        let train = job.train();
        assert_eq!((train.round, train.start.number), (round, round - 1));
        assert_eq!(
            train.data.of("").unwrap(),
            RowRange { first: u64::from(round - 1) * 100, end: u64::from(round) * 100 }
        );
        assert_eq!(job.improved(), round);
    }
    assert_eq!(job.rounds.deployed().number, 30);
    assert_eq!((job.rounds.past().len(), job.rounds.past()[0].number), (MOST_ROUNDS, 11));
}

#[test]
fn a_worse_candidate_is_kept_out_with_the_figures() {
    for (candidate, deployed, figures) in [
        (0.5, 0.9, "difference.accuracy is -0.4, not above 0.1"),
        (0.55, 0.5, "difference.accuracy is 0.05, not above 0.1"),
        (f64::NAN, 0.5, "difference.accuracy is not known: no evaluation has reported yet"),
    ] {
        let mut job = Job::new();
        job.rows(100);
        let number = job.measured(candidate, deployed);
        let (_, why) = job.wait();
        assert_eq!(why, "there are no rows that came since round 1");
        let round = &job.rounds.past()[0];
        assert_eq!(job.stages(round), ["completed", "completed", "skipped"]);
        assert_eq!((round.outcome, round.deploy.reason.as_str()), (Some(Outcome::KeptOut), figures));
        assert_eq!(job.states(), [(0, "deployed"), (number, "kept-out")]);
        assert_eq!(job.rounds.version(number).unwrap().reason, figures);
    }
}

#[test]
fn what_a_candidate_that_was_kept_out_was_to_teach_the_next_one_teaches() {
    let mut job = Job::new();
    job.grown();
    job.rows(200);
    job.measured(0.5, 0.9);
    job.wait();
    job.rows(299);
    job.pass(1);
    assert_eq!(job.wait().1, "newSamples is 99, not at least 100", "since the latest round's data");
    job.rows(300);
    job.pass(1);
    let train = job.train();
    assert_eq!((train.start.number, train.data.to_string().as_str()), (1, "rows 100–299"));
    assert_eq!(job.improved(), 3);
    assert_eq!(job.rounds.version(3).unwrap().parent, Some(1));
}

#[test]
fn new_samples_lead_to_training_within_the_check_period() {
    let mut job = Job::new();
    job.plan.train = trigger(&format!("{ENOUGH}\ncheckPeriod: 30s"));
    job.rows(1);
    assert_eq!(job.wait().0, Some(30));
    job.pass(12);
    job.rows(100);
    let (until, why) = job.wait();
    assert_eq!((until, why.as_str()), (Some(18), "newSamples is 1, not at least 100"), "as last looked at");
    job.pass(18);
    job.train();
}

#[test]
fn no_round_begins_on_rows_that_there_were_in_the_one_before() {
    let mut job = Job::new();
    job.plan.train = trigger("expression: 'drift > 0.2 || modelAge > days(1)'");
    assert_eq!(job.wait(), (None, "there are no rows to train on yet".to_owned()));
    job.rows(10);
    job.figures.drift = Some(0.9);
    job.measured(0.5, 0.9);
    job.pass(10 * 86_400);
    assert_eq!(job.wait(), (None, "there are no rows that came since round 1".to_owned()));
    job.rows(11);
    assert_eq!(job.train().data.to_string(), "rows 0–10");
}

#[test]
fn a_candidate_waits_for_the_window_and_the_cool_down_and_is_not_kept_out() {
    let mut job = Job::new();
    job.plan.deploy =
        trigger(&format!("{BETTER_BY_A_TENTH}\nwindow: {{from: '22:00', to: '06:00', timeZone: UTC}}"));
    job.rows(100);
    job.measured(0.9, 0.5);
    let (until, why) = job.wait();
    assert!(why.starts_with("outside of the daily window 22:00–06:00 UTC"), "{why}");
    assert_eq!(job.rounds.current().unwrap().deploy.state, StageState::Waiting);
    assert_eq!(job.rounds.waiting(), why);
    job.rows(500);
    job.wait();
    job.pass(until.unwrap());
    assert_eq!(job.deploy().version.number, 1, "and no round has begun meanwhile");
}

#[test]
fn every_figure_reaches_its_trigger() {
    let mut job = Job::new();
    job.grown();
    job.figures = Figures { drift: Some(0.3), hard_share: Some(0.25), ..job.figures };
    job.rows(150);
    job.pass(3_600);
    for (expression, fires) in [
        ("newSamples == 50 && samples == 150", true),
        ("drift >= 0.3 && hardShare == 0.25", true),
        ("metrics.accuracy == 0.9 && deployed.accuracy == 0.5", true),
        ("relativeDifference.accuracy > 0.79", true),
        ("modelAge > hours(1) && modelAge < hours(2)", true),
        ("metrics.f1 > 0", false),
    ] {
        let mut other =
            Job { rounds: job.rounds.clone(), plan: job.plan.clone(), figures: job.figures.clone(), ..job };
        other.plan.train = trigger(&format!("expression: '{expression}'"));
        assert_eq!(matches!(other.next(), Step::Train(_)), fires, "{expression}");
    }
}

#[test]
fn several_sources_are_followed_each_by_itself() {
    let mut job = Job::new();
    let rows = |rows: &[(&str, u64)]| {
        Rows::try_from(
            rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<BTreeMap<_, _>>(),
        )
        .unwrap()
    };
    job.figures.rows = rows(&[("a.csv", 60), ("b.csv", 60)]);
    job.improved();
    // b is away for a round, c is new.
    job.figures.rows = rows(&[("a.csv", 61), ("c.csv", 100)]);
    assert_eq!(job.train().data.to_string(), "a.csv: rows 60–60; c.csv: rows 0–99");
    job.improved();
    job.figures.rows = rows(&[("a.csv", 61), ("b.csv", 160), ("c.csv", 100)]);
    assert_eq!(job.train().data.to_string(), "b.csv: rows 60–159");
}

#[test]
fn rows_that_were_replaced_are_new() {
    let mut job = Job::new();
    job.rows(300);
    job.improved();
    job.rows(120);
    assert_eq!(job.train().data.to_string(), "rows 0–119", "the source has become shorter");
    job.improved();
    job.rows(125);
    job.rounds.replaced("");
    assert_eq!(job.train().data.to_string(), "rows 0–124", "and longer again");
}

#[test]
fn a_round_mixes_in_earlier_rows() {
    let mut job = Job::new();
    job.plan.replay = Replay { share: 0.25, reservoir: 1_000 };
    job.rows(200);
    assert_eq!(job.train().replay, 0, "there are none before the first");
    job.improved();
    job.rows(500);
    let train = job.train();
    assert_eq!(train.replay, 100, "100 of the first 200, beside 300 new");
    let drawn = job.rounds.replay(|_, _| true);
    assert!(drawn[""].len() == 100 && drawn[""].iter().all(|row| *row < 200), "{drawn:?}");
    job.restart();
    assert_eq!(job.rounds.replay(|_, _| true), drawn);
    let even = job.rounds.replay(|_, row| row % 2 == 0);
    assert!(even[""].len() == 100 && even[""].iter().all(|row| row % 2 == 0));
    let number = job.improved();
    assert_eq!(job.rounds.version(number).unwrap().replayed, 100);
    assert!(job.rounds.replay(|_, _| true).is_empty(), "no round is in progress");
}

#[test]
fn evaluations_look_back_at_what_the_one_before_saw() {
    let mut job = Job::new();
    for (rows, earlier) in [(100, 0), (250, 100), (400, 250)] {
        job.rows(rows);
        let train = job.train();
        job.rounds.trained(&train, trained(rows), job.now).unwrap();
        let evaluate = job.evaluate();
        assert_eq!((evaluate.earlier.of(""), evaluate.deployed.number), (earlier, train.start.number));
        let outcome = Evaluated {
            rows: job.figures.rows.clone(),
            candidate_earlier: accuracy(0.7),
            ..evaluated(0.9, 0.5)
        };
        job.rounds.evaluated(&evaluate, outcome, job.now).unwrap();
        job.pass(2);
        let deploy = job.deploy();
        job.rounds.deployed_now(&deploy, job.now).unwrap();
    }
    let evaluation = job.rounds.deployed().evaluation.clone().unwrap();
    assert_eq!((evaluation.against, evaluation.candidate_earlier.get("accuracy")), (2, Some(0.7)));
}
