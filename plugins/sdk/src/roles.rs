//! The roles: a trait for each world, and the adapter that exports an implementation of it.
//!
//! `export_trainer!(T)` and its siblings put the adapter's functions into the component; the host calls those,
//! they read the parameters, call the trait, and turn its error into the text that the host shows.

use std::cell::RefCell;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

pub use crate::bindings::capabilities::sedge::worker::model::Update;
pub use crate::bindings::inferencer::exports::sedge::worker::inferring::{Port, Signature};
use crate::bindings::{aggregator, evaluator, inferencer, miner, trainer};
use crate::{Error, Metric, NamedTensor, Weights, job};

/// What evaluation gives.
#[derive(Debug)]
pub struct Report {
    /// Samples that the metrics rest on.
    pub samples: u64,
    /// What was measured.
    pub metrics: Vec<Metric>,
}

/// Trains on this node's data.
pub trait Trainer: 'static {
    /// What the job may set; read anew for each round.
    type Parameters: DeserializeOwned;

    /// Trains from `start`; rounds count from the job's first.
    fn train(parameters: Self::Parameters, round: u32, start: &Weights) -> Result<Update, Error>;
}

/// Measures weights on this node's data.
pub trait Evaluator: 'static {
    /// What the job may set.
    type Parameters: DeserializeOwned;

    /// Measures `candidate`.
    fn evaluate(parameters: Self::Parameters, candidate: &Weights) -> Result<Report, Error>;
}

/// Folds updates into new weights, one at a time.
pub trait Aggregator: Sized + 'static {
    /// What the job may set.
    type Parameters: DeserializeOwned;

    /// Begins a round that starts from `current`.
    fn begin(parameters: Self::Parameters, round: u32, current: Weights) -> Result<Self, Error>;

    /// Folds one update in. An error refuses this update; the round goes on without it.
    fn add(&mut self, update: Update) -> Result<(), Error>;

    /// The weights that the round ends with.
    fn finish(self) -> Result<Weights, Error>;
}

/// Answers requests with the deployed model.
pub trait Inferencer: Sized + 'static {
    /// What the job may set.
    type Parameters: DeserializeOwned;

    /// Prepares for requests; called when the worker, or its model, is swapped in. An error keeps the old one.
    fn prepare(parameters: Self::Parameters, deployed: &Weights) -> Result<Self, Error>;

    /// What requests must have and what answers have; None: what the model's graph `infer` takes and gives. Asked
    /// once, after `prepare`.
    fn signature(&self) -> Option<Signature> {
        None
    }

    /// Answers one request.
    fn infer(&self, inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Error>;
}

/// Decides which samples the edge model could not be trusted with.
pub trait Miner: 'static {
    /// What the job may set.
    type Parameters: DeserializeOwned;

    /// One verdict per sample of the batch.
    fn hard(parameters: Self::Parameters, batch: Vec<NamedTensor>) -> Result<Vec<bool>, Error>;
}

/// Exports a role through a trait's implementation; what the `export_…!` macros name.
#[doc(hidden)]
#[derive(Debug)]
pub struct Exported<T>(PhantomData<T>);

impl<T: Trainer> trainer::exports::sedge::worker::training::Guest for Exported<T> {
    fn train(round: u32, start: &Weights) -> Result<Update, String> {
        job::parameters().and_then(|parameters| T::train(parameters, round, start)).map_err(text)
    }
}

impl<T: Evaluator> evaluator::exports::sedge::worker::evaluation::Guest for Exported<T> {
    fn evaluate(
        candidate: &Weights,
    ) -> Result<evaluator::exports::sedge::worker::evaluation::Report, String> {
        let report =
            job::parameters().and_then(|parameters| T::evaluate(parameters, candidate)).map_err(text)?;
        let Report { samples, metrics } = report;
        Ok(evaluator::exports::sedge::worker::evaluation::Report { samples, metrics })
    }
}

impl<T: Miner> miner::exports::sedge::worker::mining::Guest for Exported<T> {
    fn hard(batch: Vec<NamedTensor>) -> Result<Vec<bool>, String> {
        job::parameters().and_then(|parameters| T::hard(parameters, batch)).map_err(text)
    }
}

/// Where an exported inferencer keeps what `prepare` made.
#[doc(hidden)]
pub trait Prepared: Inferencer {
    /// Runs `f` on this component's one inferencer.
    fn with<R>(f: impl FnOnce(&RefCell<Option<Self>>) -> R) -> R;
}

impl<T: Prepared> inferencer::exports::sedge::worker::inferring::Guest for Exported<T> {
    fn prepare(deployed: &Weights) -> Result<Option<Signature>, String> {
        let prepared =
            job::parameters().and_then(|parameters| T::prepare(parameters, deployed)).map_err(text)?;
        let signature = prepared.signature();
        T::with(|place| place.replace(Some(prepared)));
        Ok(signature)
    }

    fn infer(inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, String> {
        T::with(|place| match &*place.borrow() {
            Some(inferencer) => inferencer.infer(inputs).map_err(text),
            None => Err("infer was called before prepare".to_owned()),
        })
    }
}

/// An aggregation under way. WIT's constructor cannot fail, so a failure to begin is told by the calls after it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Aggregate<A>(RefCell<Result<A, String>>);

impl<A: Aggregator> aggregator::exports::sedge::worker::aggregation::Guest for Exported<A> {
    type Aggregate = Aggregate<A>;
}

impl<A: Aggregator> aggregator::exports::sedge::worker::aggregation::GuestAggregate for Aggregate<A> {
    fn new(round: u32, current: Weights) -> Self {
        let begun = job::parameters().and_then(|parameters| A::begin(parameters, round, current));
        Self(RefCell::new(begun.map_err(text)))
    }

    fn add(&self, update: Update) -> Result<(), String> {
        match &mut *self.0.borrow_mut() {
            Ok(aggregator) => aggregator.add(update).map_err(text),
            Err(failure) => Err(failure.clone()),
        }
    }

    fn finish(this: aggregator::exports::sedge::worker::aggregation::Aggregate) -> Result<Weights, String> {
        let Self(aggregator) = this.into_inner();
        aggregator.into_inner().and_then(|aggregator| aggregator.finish().map_err(text))
    }
}

fn text(error: Error) -> String {
    error.to_string()
}

/// Makes the component a trainer: `export_trainer!(MyTrainer);` where `MyTrainer` implements [`Trainer`].
#[macro_export]
macro_rules! export_trainer {
    ($implementation:ty) => {
        $crate::export_role!(trainer, $implementation);
    };
}

/// Makes the component an evaluator: `export_evaluator!(MyEvaluator);` where `MyEvaluator` implements [`Evaluator`].
#[macro_export]
macro_rules! export_evaluator {
    ($implementation:ty) => {
        $crate::export_role!(evaluator, $implementation);
    };
}

/// Makes the component an aggregator: `export_aggregator!(MyAggregator);` where `MyAggregator` implements
/// [`Aggregator`].
#[macro_export]
macro_rules! export_aggregator {
    ($implementation:ty) => {
        $crate::export_role!(aggregator, $implementation);
    };
}

/// Makes the component a miner: `export_miner!(MyMiner);` where `MyMiner` implements [`Miner`].
#[macro_export]
macro_rules! export_miner {
    ($implementation:ty) => {
        $crate::export_role!(miner, $implementation);
    };
}

/// Makes the component an inferencer: `export_inferencer!(MyInferencer);` where `MyInferencer` implements
/// [`Inferencer`].
#[macro_export]
macro_rules! export_inferencer {
    ($implementation:ty) => {
        const _: () = {
            ::std::thread_local! {
                static PREPARED: ::std::cell::RefCell<Option<$implementation>> =
                    const { ::std::cell::RefCell::new(None) };
            }
            impl $crate::Prepared for $implementation {
                fn with<R>(f: impl FnOnce(&::std::cell::RefCell<Option<Self>>) -> R) -> R {
                    PREPARED.with(f)
                }
            }
        };
        $crate::export_role!(inferencer, $implementation);
    };
}

/// What the `export_…!` macros have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! export_role {
    ($world:ident, $implementation:ty) => {
        #[allow(unsafe_code, missing_docs)]
        const _: () = {
            type Exported = $crate::Exported<$implementation>;
    $crate::bindings::$world::export!(Exported with_types_in $crate::bindings::$world);
        };
    };
}
