//! Steps that fail, words that come late, and a node that stops.

use super::*;

/// Lead a job up to a stage of its first round.
fn at(stage: Stage) -> Job {
    let mut job = Job::new();
    job.rows(100);
    if stage != Stage::Train {
        let train = job.train();
        job.rounds.trained(&train, trained(1), job.now).unwrap();
    }
    if stage == Stage::Deploy {
        let evaluate = job.evaluate();
        job.rounds.evaluated(&evaluate, evaluated(0.9, 0.5), job.now).unwrap();
    }
    job
}

#[test]
fn every_stage_is_tried_again_with_growing_pauses_and_then_given_up() {
    for (stage, states) in [
        (Stage::Train, ["failed", "skipped", "skipped"]),
        (Stage::Evaluate, ["completed", "failed", "skipped"]),
        (Stage::Deploy, ["completed", "completed", "failed"]),
    ] {
        let mut job = at(stage);
        for pause in [1, 2, 4] {
            let step = job.next();
            assert_eq!(step.stage(), Some((1, stage)));
            let failed = job.rounds.failed(&step, "the disk is full", &job.plan, job.now).unwrap();
            assert_eq!(failed, Failed::Again(job.now + SignedDuration::from_secs(pause)));
            let (until, why) = job.wait();
            assert_eq!(until, Some(pause));
            assert!(why.starts_with(stage.word()) && why.ends_with("failed: the disk is full"), "{why}");
            let record = job.rounds.current().unwrap().stage(stage).clone();
            assert_eq!(record.state, StageState::Waiting);
            job.pass(pause);
        }
        let step = job.next();
        let failed = job.rounds.failed(&step, "the disk is full", &job.plan, job.now).unwrap();
        assert_eq!(failed, Failed::Over);
        let reason = format!("{} failed, 4 tries: the disk is full", stage.word());
        let round = &job.rounds.past()[0];
        assert_eq!(job.stages(round), states);
        assert_eq!(
            (round.outcome, round.stage(stage).reason.clone()),
            (Some(Outcome::Failed), reason.clone())
        );
        if let Some(candidate) = round.candidate {
            let candidate = job.rounds.version(candidate).unwrap();
            assert_eq!((candidate.state, candidate.reason.clone()), (VersionState::KeptOut, reason));
        }
        assert_eq!(job.rounds.deployed().number, 0, "which goes on serving");
        assert_eq!(job.wait().1, "there are no rows that came since round 1");

        // The next round waits for its trigger, and has all rows that no deployed version was trained on.
        job.rows(199);
        job.pass(1);
        job.wait();
        job.rows(200);
        job.pass(1);
        let train = job.train();
        assert_eq!((train.round, train.data.to_string().as_str()), (2, "rows 0–199"));
        job.improved();
    }
}

#[test]
fn a_stage_that_cannot_be_done_is_not_tried_again() {
    for stage in Stage::ALL {
        let mut job = at(stage);
        let step = job.next();
        job.rounds.refused(&step, "node `edge-1` has undone it", job.now).unwrap();
        let round = &job.rounds.past()[0];
        assert_eq!(round.outcome, Some(Outcome::Failed));
        let reason = format!("{} failed: node `edge-1` has undone it", stage.word());
        assert_eq!(round.stage(stage).reason, reason);
        assert_eq!(
            job.rounds.refused(&step, "again", job.now).unwrap_err().to_string(),
            format!("{} of round 1 is not what the job is at: no round is in progress", stage.word())
        );
    }
}

#[test]
fn success_after_a_failure_is_success() {
    let mut job = at(Stage::Deploy);
    let step = job.next();
    job.rounds.failed(&step, "no room", &job.plan, job.now).unwrap();
    job.pass(1);
    let deploy = job.deploy();
    job.rounds.deployed_now(&deploy, job.now).unwrap();
    assert_eq!(job.rounds.deployed().reason, "difference.accuracy is 0.4, above 0.1");
    assert_eq!(job.rounds.past()[0].deploy.failures, 1);
}

#[test]
fn a_stop_between_any_two_steps_repeats_none_that_is_finished() {
    // `Job::next` restarts after each question; here the node stops after each event as well, and is told so.
    let mut job = Job::new();
    let mut done = Vec::new();
    for rows in [100, 200, 300] {
        job.rows(rows);
        for _ in 0..3 {
            let step = job.next();
            job.rounds.interrupted(job.now);
            job.restart();
            assert_eq!(job.next(), step, "it is begun again, and is the same");
            done.push(step.stage().unwrap());
            match step {
                Step::Train(train) => drop(job.rounds.trained(&train, trained(rows), job.now).unwrap()),
                Step::Evaluate(step) => job.rounds.evaluated(&step, evaluated(0.9, 0.5), job.now).unwrap(),
                Step::Deploy(step) => job.rounds.deployed_now(&step, job.now).unwrap(),
                other => panic!("{other:?}"),
            }
            job.restart();
            job.pass(1);
        }
    }
    let each: Vec<(u32, Stage)> = (1..=3).flat_map(|round| Stage::ALL.map(|stage| (round, stage))).collect();
    assert_eq!(done, each);
}

#[test]
fn a_stage_that_the_node_keeps_stopping_in_has_failed() {
    let mut job = at(Stage::Train);
    for _ in 0..7 {
        job.train();
        job.rounds.interrupted(job.now);
        job.restart();
    }
    assert_eq!(job.rounds.current().unwrap().train.interruptions, 7);
    job.train();
    job.rounds.interrupted(job.now);
    assert_eq!(job.rounds.past()[0].train.reason, "train failed: the node stopped 8 times during it");
    job.rounds.interrupted(job.now);
    assert_eq!(job.rounds.past().len(), 1, "nothing was under way");
}

#[test]
fn words_that_come_late_or_twice_change_nothing() {
    let mut job = Job::new();
    job.rows(100);
    let train = job.train();
    job.rounds.trained(&train, trained(1), job.now).unwrap();
    let evaluate = job.evaluate();
    job.rounds.evaluated(&evaluate, evaluated(0.9, 0.5), job.now).unwrap();
    let early = Deploy {
        cause: DeployCause::Round(1),
        serial: 1,
        version: evaluate.candidate.clone(),
        instead_of: evaluate.deployed.clone(),
    };
    let before = job.rounds.clone();
    let error = job.rounds.deployed_now(&early, job.now).unwrap_err();
    assert_eq!(
        error.to_string(),
        "deploy of round 1 is not what the job is at: round 1 is at deploy",
        "no trigger has fired"
    );
    let deploy = job.deploy();
    let after = job.rounds.clone();
    for error in [
        job.rounds.trained(&train, trained(9), job.now).map(drop).unwrap_err(),
        job.rounds.evaluated(&evaluate, evaluated(0.0, 1.0), job.now).unwrap_err(),
        job.rounds
            .failed(&Step::Evaluate(evaluate.clone()), "late", &job.plan, job.now)
            .map(drop)
            .unwrap_err(),
    ] {
        assert!(error.to_string().ends_with("round 1 is at deploy"), "{error}");
    }
    assert_eq!(job.rounds, after);
    assert!(before.revision() < after.revision());
    job.rounds.deployed_now(&deploy, job.now).unwrap();
    assert!(job.rounds.deployed_now(&deploy, job.now).is_err());
    let round = Train { round: 2, ..train };
    assert!(job.rounds.trained(&round, trained(9), job.now).is_err(), "a round that has not begun");
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up_for_longer() {
    let mut job = at(Stage::Train);
    let step = job.next();
    job.rounds.failed(&step, "no room", &job.plan, job.now).unwrap();
    job.pass(-86_400);
    assert_eq!(job.wait().0, Some(1));
}

#[test]
fn only_what_is_worth_it_is_to_be_written() {
    let mut job = Job::new();
    job.rows(5);
    job.wait();
    let written = job.rounds.revision();
    for _ in 0..100 {
        job.pass(1);
        job.wait();
    }
    assert_eq!(job.rounds.revision(), written, "that a trigger was looked at is not");
    job.rows(100);
    job.pass(1);
    job.train();
    assert!(job.rounds.revision() > written);
}
