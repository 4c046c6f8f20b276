//! State that cannot be gone on with is refused, with why.

use proptest::prelude::*;

use super::*;

/// A job in the middle of its third round, as JSON.
fn written() -> Value {
    let mut job = Job::new();
    job.grown();
    job.grown();
    job.rows(300);
    job.measured(0.9, 0.5);
    job.pass(1);
    job.deploy();
    serde_json::from_slice(&job.rounds.to_json()).unwrap()
}

fn read(state: &Value) -> Result<Rounds, DamagedState> {
    Rounds::from_json(state.to_string().as_bytes())
}

#[test]
fn what_contradicts_itself_is_refused_with_why() {
    assert!(read(&written()).is_ok());
    type Damage = fn(&mut Value);
    let cases: [(&str, Damage); 18] = [
        ("format 2", |s| s["format"] = json!(2)),
        ("missing field `versions`", |s| drop(s.as_object_mut().unwrap().remove("versions"))),
        ("out of order", |s| s["versions"][0]["number"] = json!(2)),
        ("is still to come", |s| s["nextVersion"] = json!(3)),
        ("older than", |s| s["versions"][1]["parent"] = json!(1)),
        ("both serves", |s| s["versions"][0]["state"] = json!("deployed")),
        ("both serves", |s| s["deployed"] = json!(7)),
        ("not kept", |s| s["versions"][2]["forgotten"] = json!(true)),
        ("no digest", |s| s["versions"][0]["digest"] = json!("sha256:abc")),
        ("rounds out of order", |s| s["nextRound"] = json!(3)),
        ("has not ended", |s| s["past"][0]["outcome"] = Value::Null),
        ("in progress and has ended", |s| s["current"]["outcome"] = json!("deployed")),
        ("versions that there are not", |s| s["current"]["start"] = json!(0)),
        ("before it was trained", |s| s["current"]["candidate"] = Value::Null),
        ("numbers beyond", |s| s["nextRound"] = json!(u32::MAX)),
        ("at most 4294967296", |s| s["seen"] = json!({"": u64::MAX})),
        ("more versions", |s| {
            let one = s["versions"][0].clone();
            s["versions"] = vec![one; 200].into();
        }),
        ("rollback to a version", |s| {
            s["rollback"] =
                json!({"request": 1, "version": 8, "state": "asked", "since": "2026-01-01T00:00:00Z"});
        }),
    ];
    for (why, damage) in cases {
        let mut state = written();
        damage(&mut state);
        let error = read(&state).map(|_| why).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("begin anew"), "{why}: {error}");
    }
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    let whole = written().to_string();
    for end in [0, 1, whole.len() / 2, whole.len() - 1] {
        let error = Rounds::from_json(&whole.as_bytes()[..end]).unwrap_err().to_string();
        assert!(error.contains("does not read as it was written"), "{error}");
    }
    let error = Rounds::from_json(&vec![b' '; LARGEST_STATE + 1]).unwrap_err().to_string();
    assert!(error.contains("bytes, more than"), "{error}");
}

proptest! {
    #[test]
    fn whatever_is_read_panics_nowhere(at in 0_usize..4_000, byte: u8, rows in 0_u64..1_000) {
        let mut json = written().to_string().into_bytes();
        let at = at % json.len();
        json[at] = byte;
        if let Ok(rounds) = Rounds::from_json(&json) {
            let mut job = Job { rounds, ..Job::new() };
            job.rows(rows);
            for _ in 0..4 {
                match job.rounds.next(&job.plan, &job.figures, job.now) {
                    Step::Train(step) => drop(job.rounds.trained(&step, trained(9), job.now)),
                    Step::Evaluate(step) => drop(job.rounds.evaluated(&step, evaluated(0.9, 0.5), job.now)),
                    Step::Deploy(step) => drop(job.rounds.deployed_now(&step, job.now)),
                    Step::Forget(step) => job.rounds.forgotten(&step),
                    Step::Wait { .. } => job.pass(1),
                }
            }
            let _ = job.rounds.replay(|_, _| true);
        }
    }
}
