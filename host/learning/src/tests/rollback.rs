//! Going back to another version.

use super::*;

fn three() -> Job {
    let mut job = Job::new();
    job.plan.keep = 10;
    for _ in 0..3 {
        job.grown();
    }
    job
}

#[test]
fn a_rollback_goes_back_to_what_served_before_and_again_further() {
    let mut job = three();
    for (request, to, states) in [
        (1, 2, [(0, "superseded"), (1, "superseded"), (2, "deployed"), (3, "rolled-back")]),
        (2, 1, [(0, "superseded"), (1, "deployed"), (2, "rolled-back"), (3, "rolled-back")]),
    ] {
        job.rounds.ask_rollback(request, None, job.now);
        let deploy = job.deploy();
        assert_eq!((deploy.cause, deploy.version.number), (DeployCause::Rollback(request), to));
        assert_eq!((deploy.instead_of.number, deploy.serial), (to + 1, 3 + request));
        job.rounds.deployed_now(&deploy, job.now).unwrap();
        job.restart();
        assert_eq!(job.states(), states);
        assert_eq!(job.rounds.rollback().unwrap().state, RollbackState::Done);
    }
    assert_eq!(job.wait().1, "there are no rows that came since round 3", "it is not undone by itself");
    job.rows(400);
    job.pass(1);
    let train = job.train();
    assert_eq!((train.start.number, train.data.to_string().as_str()), (1, "rows 100–399"));
    assert_eq!(job.improved(), 4);
}

#[test]
fn a_version_may_be_named_and_a_request_may_be_repeated() {
    let mut job = three();
    job.rounds.ask_rollback(5, Some(0), job.now);
    let deploy = job.deploy();
    job.rounds.ask_rollback(5, Some(0), job.now);
    assert_eq!(job.deploy(), deploy);
    job.rounds.deployed_now(&deploy, job.now).unwrap();
    let after = job.rounds.clone();
    job.rounds.ask_rollback(5, Some(0), job.now);
    job.rounds.ask_rollback(4, Some(2), job.now);
    assert_eq!(job.rounds, after, "both were heard before");
    job.rounds.ask_rollback(6, Some(3), job.now);
    assert_eq!(job.deploy().version.number, 3, "forward again");
}

#[test]
fn it_ends_the_round_in_progress_whatever_it_is_at() {
    for stage in Stage::ALL {
        let mut job = three();
        job.rows(400);
        if stage == Stage::Train {
            job.train();
        } else {
            job.measured(0.9, 0.5);
            job.pass(1);
            job.deploy();
        }
        job.rounds.ask_rollback(1, None, job.now);
        let deploy = job.deploy();
        assert_eq!(deploy.version.number, 2);
        let round = job.rounds.past().last().unwrap();
        assert_eq!((round.number, round.outcome), (4, Some(Outcome::Abandoned)));
        job.rounds.deployed_now(&deploy, job.now).unwrap();
        job.restart();
        if let Some(candidate) = job.rounds.version(4) {
            assert_eq!(
                (candidate.state, candidate.reason.as_str()),
                (VersionState::KeptOut, "version 2 was asked for instead of 3")
            );
        }
    }
}

#[test]
fn what_cannot_be_gone_back_to_is_refused_and_disturbs_nothing() {
    let mut job = Job::new();
    job.rows(100);
    let train = job.train();
    for (request, version, why) in [
        (1, None, "there is no version to go back to"),
        (2, Some(9), "version 9 is not on record"),
        (3, Some(0), "version 0 serves already"),
    ] {
        job.rounds.ask_rollback(request, version, job.now);
        let rollback = job.rounds.rollback().unwrap();
        assert_eq!((rollback.state, rollback.reason.as_str()), (RollbackState::Refused, why));
        assert_eq!(job.train(), train);
    }
    job.rounds.trained(&train, trained(1), job.now).unwrap();
    job.rounds.ask_rollback(4, Some(1), job.now);
    assert_eq!(job.rounds.rollback().unwrap().reason, "version 1 is the candidate of the round in progress");
    job.evaluate();
}

#[test]
fn one_that_fails_is_tried_again_and_then_refused_while_the_deployed_version_serves() {
    let mut job = three();
    job.rounds.ask_rollback(1, None, job.now);
    for pause in [1, 2, 4] {
        let step = job.next();
        assert!(matches!(job.rounds.failed(&step, "no room", &job.plan, job.now), Ok(Failed::Again(_))));
        assert_eq!(job.wait().0, Some(pause));
        job.pass(pause);
    }
    let step = job.next();
    assert_eq!(job.rounds.failed(&step, "no room", &job.plan, job.now), Ok(Failed::Over));
    let rollback = job.rounds.rollback().unwrap();
    assert_eq!((rollback.state, rollback.reason.as_str()), (RollbackState::Refused, "no room"));
    assert_eq!(job.rounds.deployed().number, 3);
    job.wait();
    assert!(job.rounds.failed(&step, "late", &job.plan, job.now).is_err());

    job.rounds.ask_rollback(2, None, job.now);
    let step = job.next();
    job.rounds.refused(&step, "it does not load", job.now).unwrap();
    assert_eq!(job.rounds.rollback().unwrap().reason, "it does not load");
}
