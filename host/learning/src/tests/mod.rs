//! Whole jobs against a clock of the test's own. Whatever a test does, the state is written and read back after each
//! question and each event, and what is read must go on as what was written.

mod damage;
mod failures;
mod lineage;
mod rollback;
mod rounds;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sedge_triggers::Trigger;
use serde_json::{Value, json};

use crate::*;

const ENOUGH: &str = "condition: {metric: newSamples, operator: '>=', threshold: 100}";
const BETTER_BY_A_TENTH: &str = "condition: {metric: difference.accuracy, operator: '>', threshold: 0.1}";

fn trigger(yaml: &str) -> Trigger {
    Trigger::parse(&serde_yaml_ng::from_str(yaml).unwrap()).unwrap()
}

fn digest(of: u64) -> Digest {
    format!("sha256:{of:064x}").parse().unwrap()
}

fn accuracy(value: f64) -> Metrics {
    [("accuracy", value)].into_iter().collect()
}

fn evaluated(candidate: f64, deployed: f64) -> Evaluated {
    Evaluated { candidate: accuracy(candidate), deployed: accuracy(deployed), ..Evaluated::default() }
}

fn trained(of: u64) -> Trained {
    Trained {
        digest: digest(of),
        data_digest: Some(digest(1_000 + of)),
        samples: 80,
        metrics: [("loss", 0.5)].into_iter().collect(),
        trainer: Some(digest(77)),
        parameters: json!({"epochs": 5}),
    }
}

/// A job with its surroundings.
struct Job {
    rounds: Rounds,
    plan: Plan,
    figures: Figures,
    now: Timestamp,
}

impl Job {
    fn new() -> Self {
        let now = "2026-01-05T12:00:00Z".parse().unwrap();
        Self {
            rounds: Rounds::begin(digest(0), 7, now),
            plan: Plan {
                train: trigger(ENOUGH),
                deploy: trigger(BETTER_BY_A_TENTH),
                replay: Replay::default(),
                keep: 3,
                retries: Retries::default(),
            },
            figures: Figures::default(),
            now,
        }
    }

    fn rows(&mut self, rows: u64) {
        self.figures.rows = Rows::of_one(rows);
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// The node stops and starts: what was written is all that there is.
    fn restart(&mut self) {
        let read = Rounds::from_json(&self.rounds.to_json()).unwrap();
        assert_eq!(read, self.rounds);
        self.rounds = read;
    }

    /// What is to be done, which asking again and a restart do not change.
    fn next(&mut self) -> Step {
        let before = self.rounds.clone();
        let step = self.rounds.next(&self.plan, &self.figures, self.now);
        if before.current() != self.rounds.current() || before.versions() != self.rounds.versions() {
            let waits =
                |round: &Round| matches!(round.at(), Some(Stage::Deploy)) && round.deploy_why.is_none();
            let noted = self.rounds.current().is_some_and(waits);
            assert!(
                noted || self.rounds.revision() > before.revision(),
                "a change that would not be written"
            );
        }
        self.restart();
        let again = self.rounds.next(&self.plan, &self.figures, self.now);
        if !matches!(step, Step::Wait { .. }) {
            assert_eq!(again, step, "after a restart");
        }
        self.restart();
        step
    }

    fn wait(&mut self) -> (Option<i64>, String) {
        match self.next() {
            Step::Wait { until, why } => (until.map(|until| until.duration_since(self.now).as_secs()), why),
            other => panic!("{other:?}"),
        }
    }

    fn train(&mut self) -> Train {
        match self.next() {
            Step::Train(train) => train,
            other => panic!("{other:?}"),
        }
    }

    fn evaluate(&mut self) -> Evaluate {
        match self.next() {
            Step::Evaluate(evaluate) => evaluate,
            other => panic!("{other:?}"),
        }
    }

    fn deploy(&mut self) -> Deploy {
        match self.next() {
            Step::Deploy(deploy) => deploy,
            other => panic!("{other:?}"),
        }
    }

    fn forget(&mut self) -> Forget {
        match self.next() {
            Step::Forget(forget) => forget,
            other => panic!("{other:?}"),
        }
    }

    /// A round up to its evaluation; gives its candidate.
    fn measured(&mut self, candidate: f64, deployed: f64) -> u32 {
        let train = self.train();
        self.pass(30);
        let number = self.rounds.trained(&train, trained(train.round.into()), self.now).unwrap();
        self.restart();
        let evaluate = self.evaluate();
        self.pass(10);
        let rows = self.figures.rows.clone();
        let outcome = Evaluated { rows, ..evaluated(candidate, deployed) };
        self.rounds.evaluated(&evaluate, outcome, self.now).unwrap();
        self.restart();
        number
    }

    /// A whole round whose candidate is deployed.
    fn improved(&mut self) -> u32 {
        let number = self.measured(0.9, 0.5);
        let deploy = self.deploy();
        self.rounds.deployed_now(&deploy, self.now).unwrap();
        self.restart();
        self.pass(1);
        number
    }

    /// A whole round on a hundred rows more.
    fn grown(&mut self) -> u32 {
        let rows = self.figures.rows.total() + 100;
        self.rows(rows);
        self.improved()
    }

    fn states(&self) -> Vec<(u32, &'static str)> {
        self.rounds.versions().iter().map(|version| (version.number, version.state.word())).collect()
    }

    fn stages(&self, round: &Round) -> [&'static str; 3] {
        Stage::ALL.map(|stage| round.stage(stage).state.word())
    }
}
