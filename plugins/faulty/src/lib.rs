//! A trainer that misbehaves in the way its parameters ask for. Tests run it to show what the sandbox holds.

mod hoard;
mod misuse;

use std::time::Duration;

use sedge_sdk::dataset::{self, Split};
use sedge_sdk::{Error, Tensor, Trainer, Update, Weights};
use serde::Deserialize;

/// What a job sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    /// How to misbehave.
    fault: Fault,
    /// Only where the dataset `train` has fewer samples than this; elsewhere the weights come back as they were.
    below: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Fault {
    /// Execute an `unreachable` instruction.
    Trap,
    /// Compute for ever.
    Loop,
    /// Ask for 8 GB of memory, 64 MiB at a time, and touch each page; a 32-bit guest ends at 4 GB by itself.
    Memory,
    /// Make tensors without end.
    Tensors,
    /// Make tensors with many dimensions and no bytes without end.
    Dimensions,
    /// Make weights of small tensors with long names without end.
    Names,
    /// Bind graphs to weights without end, and keep the graphs alone.
    Graphs,
    /// Begin to read the shuffled dataset without end.
    Orders,
    /// Hold graphs without end.
    Handles,
    /// Call functions inside functions without end.
    Recursion,
    /// Use `wasi:nn`, models and datasets wrongly, print what the host says, and go on.
    Misuse,
    /// Compute the graph `square` of the job's model with inputs of which it makes a hundred gigabytes, print what
    /// the host says, and go on.
    Huge,
    /// Give an update whose weights are all NaN.
    Nan,
    /// Give an update with a weight less than the model has.
    Layout,
    /// Wait for an hour.
    Sleep,
    /// Panic with a message.
    Panic,
    /// Write to standard output without end.
    Stdout,
}

struct Faulty;

impl Trainer for Faulty {
    type Parameters = Parameters;

    fn train(parameters: Parameters, round: u32, start: &Weights) -> Result<Update, Error> {
        let samples = dataset::size("train", Split::Train)?;
        if parameters.below.is_some_and(|below| samples >= below) {
            return Ok(Update { samples, ..update(start.tensors()) });
        }
        match parameters.fault {
            Fault::Trap => std::process::abort(),
            Fault::Loop => compute_for_ever(round),
            Fault::Memory => take_memory(),
            Fault::Tensors => hoard::tensors(),
            Fault::Dimensions => hoard::dimensions(),
            Fault::Names => hoard::names(),
            Fault::Graphs => hoard::graphs(),
            Fault::Orders => hoard::orders(),
            Fault::Handles => hoard::handles(),
            Fault::Recursion => Err(format!("recursion ended at {}", descend(0)).into()),
            Fault::Misuse => {
                misuse::all(start);
                Ok(update(start.tensors()))
            }
            Fault::Huge => {
                misuse::huge();
                Ok(update(start.tensors()))
            }
            Fault::Nan => poisoned(start),
            Fault::Layout => {
                let mut tensors = start.tensors();
                tensors.pop();
                Ok(update(tensors))
            }
            Fault::Sleep => {
                std::thread::sleep(Duration::from_secs(3600));
                Err("slept for an hour and nobody ended it".into())
            }
            #[expect(clippy::panic, reason = "the fault that was asked for")]
            Fault::Panic => panic!("a panic was asked for in round {round}"),
            Fault::Stdout => loop {
                println!("{}", "standard output without end ".repeat(32));
            },
        }
    }
}

fn compute_for_ever(mut state: u32) -> ! {
    loop {
        state = std::hint::black_box(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    }
}

fn take_memory() -> Result<Update, Error> {
    const STEP: usize = 64 << 20;
    const PAGE: usize = 64 << 10;
    let mut held: Vec<Vec<u8>> = Vec::new();
    while held.len() * (STEP >> 20) < 8 << 10 {
        let mut block = Vec::new();
        // A refusal by the host's limit becomes an error here, unless the host ends the guest at once.
        if block.try_reserve_exact(STEP).is_err() {
            return Err(format!("out of memory after {} MiB", held.len() * (STEP >> 20)).into());
        }
        block.resize(STEP, 0_u8);
        block.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        held.push(std::hint::black_box(block));
    }
    Err("got 8 GB of memory".into())
}

#[allow(unconditional_recursion, reason = "the fault that was asked for")]
fn descend(depth: u64) -> u64 {
    std::hint::black_box(descend(std::hint::black_box(depth + 1))) + 1
}

fn poisoned(start: &Weights) -> Result<Update, Error> {
    let poison = |(name, tensor): (String, Tensor)| {
        let shape = tensor.dimensions();
        let elements = shape.iter().map(|&size| size as usize).product();
        Ok((name, Tensor::from_f32(&shape, &vec![f32::NAN; elements])?))
    };
    Ok(update(start.tensors().into_iter().map(poison).collect::<Result<_, Error>>()?))
}

fn update(tensors: Vec<(String, Tensor)>) -> Update {
    Update { weights: Weights::new(tensors), samples: 1, metrics: Vec::new() }
}

sedge_sdk::export_trainer!(Faulty);
