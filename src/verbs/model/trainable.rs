//! `sedge model trainable`: an inference graph becomes a model that jobs can train.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sedge_host::model::Weights;
use sedge_host::nn::Tensor;
use sedge_onnx::train::{self, Optimizer, Options, Role, TrainError, Trainable, Weight};

use super::{onnx, shape};
use crate::columns::counted;
use crate::failure::Failure;
use crate::screen;
use crate::table::{Cell, Table};

/// Make training graphs out of an inference graph.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The inference graph
    #[arg(value_name = "IN.onnx")]
    file: PathBuf,
    /// What is minimised
    #[arg(long)]
    loss: Loss,
    /// How weights move
    #[arg(long)]
    optimizer: OptimizerName,
    /// Leave these weights as they are; `*` is any text, `?` any character. May be given several times
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// The value that the loss is put on, where the model has several outputs
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// momentum: share of the velocity that stays from step to step
    #[arg(long, default_value_t = 0.9)]
    momentum: f32,
    /// adam: share of the mean gradient that stays from step to step
    #[arg(long, default_value_t = 0.9)]
    beta1: f32,
    /// adam: share of the mean square that stays from step to step
    #[arg(long, default_value_t = 0.999)]
    beta2: f32,
    /// adam: what keeps its divisor from 0
    #[arg(long, default_value_t = 1e-8)]
    epsilon: f32,
    /// Where train.onnx, evaluate.onnx, infer.onnx and weights.safetensors go
    #[arg(short = 'o', long = "out", value_name = "OUT")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Loss {
    /// One class of several; y is their indices (i64)
    SoftmaxCrossEntropy,
    /// Numbers (f32)
    Mse,
    /// Truth values, 0 or 1 (f32)
    BinaryCrossEntropy,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OptimizerName {
    /// Gradient descent
    Sgd,
    /// Gradient descent with a velocity
    Momentum,
    /// Adam
    Adam,
}

impl Args {
    fn options(&self) -> Options {
        Options {
            loss: match self.loss {
                Loss::SoftmaxCrossEntropy => train::Loss::SoftmaxCrossEntropy,
                Loss::Mse => train::Loss::Mse,
                Loss::BinaryCrossEntropy => train::Loss::BinaryCrossEntropy,
            },
            optimizer: match self.optimizer {
                OptimizerName::Sgd => Optimizer::Sgd,
                OptimizerName::Momentum => Optimizer::Momentum { momentum: self.momentum },
                OptimizerName::Adam => {
                    Optimizer::Adam { beta1: self.beta1, beta2: self.beta2, epsilon: self.epsilon }
                }
            },
            freeze: self.freeze.clone(),
            output: self.output.clone(),
        }
    }
}

/// Make training graphs out of an inference graph.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let model = onnx::read(&args.file).map(|file| file.model);
    let model = model.with_context(|| format!("cannot read {}", args.file.display()))?;
    let made = train::trainable(model, &args.options()).map_err(|error| failure(&args.file, &error))?;
    let page = page(&made, screen::width());
    write(&args.out, made).with_context(|| format!("cannot write to {}", args.out.display()))?;
    let done = screen::styled("written", screen::GOOD);
    screen::print(&format!("{done} {}\n\n{page}", args.out.display()))?;
    Ok(())
}

fn write(out: &Path, made: Trainable) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    for (name, graph) in [("train", &made.train), ("evaluate", &made.evaluate), ("infer", &made.infer)] {
        std::fs::write(out.join(format!("{name}.onnx")), sedge_onnx::write(graph))?;
    }
    let tensor = |weight: Weight| Ok((weight.name, Tensor::from_vec(&weight.shape, weight.values)?));
    let weights = Weights::new(made.weights.into_iter().map(tensor).collect::<anyhow::Result<_>>()?)?;
    std::fs::write(out.join("weights.safetensors"), weights.to_safetensors().concat())?;
    Ok(())
}

/// What was refused and what to do about it.
fn failure(file: &Path, error: &TrainError) -> Failure {
    let failure = Failure::new(format!("{}: {error}", file.display()));
    match error {
        TrainError::NotDifferentiable { weights, .. } => match weights.as_slice() {
            [] => failure,
            [first, ..] => failure.hint(format!(
                "leave what lies before it out of training: `--freeze` with a pattern of those names, e.g. \
                 `--freeze '{}*'`",
                first.split_inclusive(['.', '/']).next().unwrap_or(first)
            )),
        },
        _ => failure,
    }
}

/// What came out, for people.
fn page(made: &Trainable, width: Option<usize>) -> String {
    let mut table = Table::new(["WEIGHT", "SHAPE", "PARAMETERS", "CHANGES"]);
    for weight in made.weights.iter().filter(|weight| weight.role != Role::State) {
        let sizes: Vec<u64> = weight.shape.iter().map(|&size| size as u64).collect();
        table.row(vec![
            Cell::new(&weight.name),
            Cell::new(shape(&sizes)),
            Cell::number(counted(weight.values.len() as u64)),
            Cell::new(match weight.role {
                Role::Trained => "trained",
                _ => "follows the batches",
            }),
        ]);
    }
    let mut text = table.render(width);
    let state: Vec<&Weight> = made.weights.iter().filter(|weight| weight.role == Role::State).collect();
    if !state.is_empty() {
        let values = state.iter().map(|weight| weight.values.len() as u64).sum();
        text.push_str(&format!("\nand {} tensors of state, {} numbers\n", state.len(), counted(values)));
    }
    if !made.frozen.is_empty() {
        text.push_str(&format!("\nfrozen: {}\n", made.frozen.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use sedge_onnx::proto::ModelProto;

    use super::*;

    #[test]
    fn a_page_tells_what_changes_and_what_does_not() {
        let weight = |name: &str, shape: &[usize], role| Weight {
            name: name.into(),
            shape: shape.to_vec(),
            values: vec![0.0; shape.iter().product()],
            role,
        };
        let made = Trainable {
            train: ModelProto::default(),
            evaluate: ModelProto::default(),
            infer: ModelProto::default(),
            weights: vec![
                weight("conv.weight", &[8, 1, 3, 3], Role::Trained),
                weight("norm.running_mean", &[8], Role::Statistic),
                weight("conv.weight.velocity", &[8, 1, 3, 3], Role::State),
            ],
            frozen: vec!["stem.weight".into()],
        };
        insta::assert_snapshot!(screen::plain(&page(&made, None)), @"
        WEIGHT              SHAPE          PARAMETERS   CHANGES
        conv.weight         [8, 1, 3, 3]           72   trained
        norm.running_mean   [8]                     8   follows the batches

        and 1 tensors of state, 72 numbers

        frozen: stem.weight
        ");
    }

    #[test]
    fn what_to_freeze_is_said() {
        let error = TrainError::NotDifferentiable {
            place: train::Place { op: "LSTM".into(), name: "/rnn".into(), index: 3 },
            weights: vec!["embedding.weight".into()],
        };
        let told = screen::plain(&crate::failure::report(&failure(Path::new("m.onnx"), &error).into(), None));
        insta::assert_snapshot!(told, @r#"
        error: m.onnx: node 3 "/rnn" (LSTM) has no gradient here, and it lies between the loss and "embedding.weight"
          hint: leave what lies before it out of training: `--freeze` with a pattern of those names, e.g. `--freeze 'embedding.*'`
        "#);
    }
}
