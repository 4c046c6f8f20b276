//! Which samples the edge's model could not be trusted with: a miner that every node has, or a plugin.

use std::time::Instant;

use super::endpoint::{ServeError, ServeErrorKind};
use super::pool::Pool;
use crate::nn::{DType, Tensor, bf16, describe, f16};
use crate::runtime::NamedTensors;

/// When a miner looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// At what came in.
    Inputs,
    /// At what the edge's model put out.
    Outputs,
}

/// A service's miner.
pub(super) struct Mining {
    pub stage: Stage,
    pub miner: Miner,
}

/// Who says what is hard.
pub(super) enum Miner {
    Builtin(sedge_mining::Miner),
    Plugin(Pool<NamedTensors, Vec<bool>>),
}

impl Miner {
    /// The miner that every node has by that name. Err says what is wrong with its name or parameters.
    pub fn builtin(name: &str, parameters: &str) -> Result<Self, String> {
        sedge_mining::Miner::parse(name, parameters).map(Self::Builtin).map_err(|error| error.to_string())
    }
}

impl Mining {
    /// One verdict per sample.
    pub async fn hard(
        &self,
        batch: &NamedTensors,
        samples: usize,
        deadline: Option<Instant>,
    ) -> Result<Vec<bool>, ServeError> {
        let hard = match &self.miner {
            Miner::Builtin(miner) => builtin(miner, batch, samples)?,
            Miner::Plugin(pool) => match pool.call(batch.clone(), deadline).await {
                Ok(hard) => hard?,
                Err(_) => return Err(ServeError::new(ServeErrorKind::Unavailable, "the miner has ended")),
            },
        };
        if hard.len() == samples {
            return Ok(hard);
        }
        let text = format!("the miner gave {} verdicts for {samples} samples", hard.len());
        Err(ServeError::new(ServeErrorKind::Internal, text))
    }
}

fn builtin(
    miner: &sedge_mining::Miner,
    batch: &NamedTensors,
    samples: usize,
) -> Result<Vec<bool>, ServeError> {
    let refuse =
        |text: String| ServeError::new(ServeErrorKind::Internal, format!("the miner {miner}: {text}"));
    if !miner.looks() {
        return Ok(miner.hard(&[], samples, 0));
    }
    let is_float =
        |tensor: &Tensor| matches!(tensor.dtype(), DType::F16 | DType::BF16 | DType::F32 | DType::F64);
    let found = match miner.output() {
        Some(name) => batch.iter().find(|(output, _)| output == name),
        None => batch.iter().find(|(_, tensor)| is_float(tensor)),
    };
    let Some((name, tensor)) = found else {
        let names: Vec<&str> = batch.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = miner.output().unwrap_or("of floating point");
        return Err(refuse(format!("there is no tensor `{wanted}` among {names:?}")));
    };
    let told = || describe(tensor.dtype(), tensor.shape());
    if tensor.shape().first() != Some(&samples) {
        return Err(refuse(format!(
            "`{name:.100}` is {}, and has no row for each of {samples} samples",
            told()
        )));
    }
    let width = tensor.len().checked_div(samples).unwrap_or_default();
    let converted: Vec<f32>;
    let scores = match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>().map_err(|error| refuse(error.message))?,
        _ => {
            converted = floats(tensor)
                .ok_or_else(|| refuse(format!("`{name:.100}` is {}, and not scores", told())))?;
            &converted
        }
    };
    Ok(miner.hard(scores, samples, width))
}

fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    match tensor.dtype() {
        DType::F16 => Some(tensor.as_slice::<f16>().ok()?.iter().map(|value| value.to_f32()).collect()),
        DType::BF16 => Some(tensor.as_slice::<bf16>().ok()?.iter().map(|value| value.to_f32()).collect()),
        DType::F64 => Some(tensor.as_slice::<f64>().ok()?.iter().map(|&value| value as f32).collect()),
        _ => None,
    }
}
