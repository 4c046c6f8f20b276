//! Versions: what is recorded of each, and which are forgotten.

use super::*;

#[test]
fn a_version_records_where_it_comes_from() {
    let mut job = Job::new();
    job.grown();
    let made = job.now;
    let number = job.grown();
    let version = job.rounds.version(number).unwrap();
    assert_eq!((version.parent, version.data.to_string().as_str()), (Some(1), "rows 100–199"));
    assert_eq!((&version.digest, version.data_digest.as_ref()), (&digest(2), Some(&digest(1_002))));
    assert_eq!(
        (version.trainer.as_ref(), version.parameters.as_ref()),
        (Some(&digest(77)), Some(&json!({"epochs": 5})))
    );
    assert_eq!((version.samples, version.training.get("loss"), version.until.of("")), (80, Some(0.5), 200));
    assert!(version.created >= made && version.deployed_at >= Some(version.created));
    let evaluation = version.evaluation.as_ref().unwrap();
    assert_eq!((evaluation.against, evaluation.candidate.get("accuracy")), (1, Some(0.9)));
}

#[test]
fn parameters_without_end_are_not_recorded() {
    let mut job = Job::new();
    job.rows(100);
    let train = job.train();
    let large = Trained { parameters: json!("x".repeat(20_000)), ..trained(1) };
    let number = job.rounds.trained(&train, large, job.now).unwrap();
    assert_eq!(job.rounds.version(number).unwrap().parameters, None::<Value>);
}

#[test]
fn versions_beyond_those_to_keep_are_forgotten_oldest_first() {
    let mut job = Job::new();
    job.plan.keep = 3;
    job.grown();
    job.grown();
    assert!(matches!(job.next(), Step::Wait { .. }), "there are three");
    job.grown();
    let forget = job.forget();
    assert_eq!((forget.versions.as_slice(), forget.weights.as_slice()), (&[0][..], &[digest(0)][..]));
    job.rounds.forgotten(&forget);
    job.wait();
    assert!(job.rounds.version(0).unwrap().forgotten, "but stays on record");
    job.rounds.ask_rollback(1, Some(0), job.now);
    assert_eq!(job.rounds.rollback().unwrap().reason, "the weights of version 0 are no longer kept");
}

#[test]
fn the_deployed_version_its_parent_and_what_served_before_are_never_forgotten() {
    let mut job = Job::new();
    job.plan.keep = 0;
    for _ in 0..2 {
        job.grown();
        while let Step::Forget(forget) = job.next() {
            job.rounds.forgotten(&forget);
        }
    }
    // Many candidates that are kept out: they go, the old ones stay.
    for round in 3..=10_u64 {
        job.rows(round * 100);
        job.measured(0.5, 0.9);
        while let Step::Forget(forget) = job.next() {
            assert!(forget.versions.iter().all(|version| *version > 2 || *version == 0), "{forget:?}");
            job.rounds.forgotten(&forget);
        }
        job.pass(1);
    }
    let kept: Vec<u32> = job.rounds.versions().iter().filter(|v| !v.forgotten).map(|v| v.number).collect();
    assert_eq!(kept, [1, 2]);
    assert_eq!(job.rounds.previous().unwrap().number, 1);
}

#[test]
fn weights_that_a_kept_version_has_too_are_not_removed() {
    let mut job = Job::new();
    job.plan.keep = 2;
    for rows in [100, 200] {
        job.rows(rows);
        let train = job.train();
        // Training that changes nothing.
        job.rounds.trained(&train, trained(0), job.now).unwrap();
        let evaluate = job.evaluate();
        job.rounds.evaluated(&evaluate, evaluated(0.9, 0.5), job.now).unwrap();
        job.pass(2);
        let deploy = job.deploy();
        job.rounds.deployed_now(&deploy, job.now).unwrap();
    }
    let forget = job.forget();
    assert_eq!((forget.versions, forget.weights), (vec![0], vec![]));
}

#[test]
fn records_are_bounded_however_long_a_job_runs() {
    let mut job = Job::new();
    job.plan.keep = usize::MAX;
    for _ in 0..150 {
        job.grown();
        while let Step::Forget(forget) = job.next() {
            job.rounds.forgotten(&forget);
        }
    }
    assert!(job.rounds.versions().len() <= MOST_VERSIONS, "{}", job.rounds.versions().len());
    assert_eq!(job.rounds.versions().iter().filter(|version| !version.forgotten).count(), 50);
    assert_eq!(job.rounds.deployed().number, 150);
}
