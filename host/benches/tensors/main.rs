//! What a call of a tensor engine costs: called directly, and through guest and `wasi:nn`.
//!
//! ```text
//!  cases (graph, inputs) × engines of this node × { direct, guest } ──▶ every call's time ──▶ median, p99
//! ```
//! The ways of one case take turns, in rounds, in one process, so that what else the machine does hits all alike.
//! Beside each engine's times stands how far its outputs lie from the first engine's, and how many of ONNX's own node
//! tests it computes: that is what engines are compared by.
//!
//! Run by `cargo xtask bench tensors`, which says in SEDGE_PLUGINS where the plugins are, in SEDGE_BENCH_MODELS where
//! models out of packages are, and in SEDGE_ONNX_NODE_TESTS where those tests are, and reads the JSON that this prints.

mod cases;
mod coverage;
#[path = "../../tests/found/mod.rs"]
mod found;
mod memory;
#[path = "../../tests/observers/mod.rs"]
mod observers;
mod ways;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sedge_host::nn::Tensor;
use serde_json::{Value, json};

use self::cases::Case;
use self::coverage::numbers;
use self::ways::{Bench, Way};

/// Rounds of one case; the first is not counted.
const ROUNDS: usize = 7;
/// How long the calls of one way in one round take together.
const TURN: Duration = Duration::from_millis(400);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let models = std::env::var_os("SEDGE_BENCH_MODELS").map(PathBuf::from);
    let mut cases = cases::all(models.as_deref());
    match arguments.as_slice() {
        // One process of its own for what one way holds: see `memory`.
        [word, case, engine, way] if word == memory::WORD => {
            cases.retain(|known| known.name == *case);
            memory::child(cases.first().expect("a case of that name"), engine, way);
        }
        [] => println!("{}", measure(&cases)),
        [filter] => {
            cases.retain(|case| case.name.contains(filter.as_str()));
            println!("{}", measure(&cases));
        }
        other => panic!("{other:?}: give nothing, or a part of a case's name"),
    }
}

fn measure(cases: &[Case]) -> Value {
    let bench = Bench::new();
    let figures: Vec<Value> = cases.iter().flat_map(|case| of_case(&bench, case)).collect();
    let parallel: Vec<Value> = cases
        .iter()
        .filter(|case| case.parallel)
        .flat_map(|case| bench.engines().into_iter().map(move |engine| (case, engine)))
        .filter_map(|(case, engine)| in_parallel(&bench, case, &engine))
        .collect();
    let coverage = coverage::measure(bench.graphs(), &bench.engines());
    json!({
        "engines": bench.engine_names(), "figures": figures, "parallel": parallel, "coverage": coverage,
    })
}

/// Median, p99 and copies of each way to compute `case`.
fn of_case(bench: &Bench, case: &Case) -> Vec<Value> {
    let mut ways: Vec<(String, Way, Vec<Duration>)> = Vec::new();
    let mut outputs = BTreeMap::new();
    for engine in bench.engines() {
        match bench.ready(case, &engine) {
            Ok(ready) => {
                outputs.insert(engine.clone(), ready.outputs());
                ways.push((engine.clone(), ready.direct(), Vec::new()));
                ways.push((engine, ready.guest(), Vec::new()));
            }
            Err(reason) => eprintln!("{}: {reason}", case.name),
        }
    }
    for round in 0..ROUNDS {
        for (_, way, times) in &mut ways {
            let calls = way.calls(TURN);
            let measured = way.run(bench, calls);
            if round > 0 {
                times.extend(measured);
            }
        }
    }
    let preferred = bench.engines().into_iter().rev().find_map(|engine| outputs.get(&engine));
    let figures = ways.into_iter().map(|(engine, way, mut times)| {
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6;
        let held = memory::of(case, &engine, way.name());
        eprintln!("{:<40} {engine:<12} {:<6} {:>10.2} µs", case.name, way.name(), at(50));
        json!({
            "case": case.name, "train": case.train, "engine": engine, "way": way.name(),
            "median_us": at(50), "p99_us": at(99), "calls": times.len(),
            "copied_bytes": way.copied(bench), "held_bytes": held,
            "apart": preferred.zip(outputs.get(&engine)).map(|(theirs, ours)| apart(ours, theirs)),
        })
    });
    figures.collect()
}

/// The largest difference of an element, in parts of the largest element of its output.
fn apart(ours: &[Tensor], theirs: &[Tensor]) -> f64 {
    let of_output = |(ours, theirs): (&Tensor, &Tensor)| {
        let (ours, theirs) = (numbers(ours), numbers(theirs));
        let largest = theirs.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        ours.iter().zip(&theirs).fold(0.0, |apart: f64, (a, b)| apart.max((a - b).abs())) / largest
    };
    ours.iter().zip(theirs).map(of_output).fold(0.0, f64::max)
}

/// How many times as much two workers do on two cores as one does, each worker with a thread and a guest of its own.
fn in_parallel(bench: &Bench, case: &Case, engine: &str) -> Option<Value> {
    let ready = bench.ready(case, engine).ok()?;
    let mut ways = [ready.guest(), ready.guest()];
    let calls = ways[0].calls(2 * TURN);
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        ways[0].run(bench, calls);
        let one = start.elapsed();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for way in &mut ways {
                scope.spawn(|| way.run(bench, calls));
            }
        });
        ratios.push(2.0 * one.as_secs_f64() / start.elapsed().as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    eprintln!("{:<40} {engine:<12} two workers do {ratio:.2} times as much as one", case.name);
    Some(json!({"case": case.name, "engine": engine, "ratio": ratio}))
}
