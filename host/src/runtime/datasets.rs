//! `sedge:worker/dataset`: the datasets that the job grants, in batches.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::bindings::dataset::{self, Batching, Split};
use super::memory::Charge;
use super::state::State;
use super::tensors::GuestTensor;
use crate::data::{self, Batches, Dataset};

/// A guest's handle to a split that it is reading.
pub struct GuestBatches {
    batches: Batches,
    /// Of the order, and of what is read ahead.
    _charges: (Charge, Option<Charge>),
}

impl State {
    fn dataset(&self, name: &str) -> Result<Arc<Dataset>, String> {
        self.grants.datasets.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = self.grants.datasets.keys().map(String::as_str).collect();
            let granted = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            format!("no dataset `{name:.100}` was granted to this worker; granted: {granted}")
        })
    }
}

impl dataset::Host for State {
    fn size(&mut self, name: String, split: Split) -> wasmtime::Result<Result<u64, String>> {
        Ok(self.dataset(&name).map(|dataset| dataset.size(from_guest(split)) as u64))
    }

    fn read(
        &mut self,
        name: String,
        split: Split,
        batching: Batching,
    ) -> wasmtime::Result<Result<Resource<GuestBatches>, String>> {
        if batching.size == 0 {
            return Ok(Err("a batch has at least one sample".to_owned()));
        }
        match self.dataset(&name) {
            Ok(dataset) => {
                let split = from_guest(split);
                let order = dataset.size(split) * size_of::<u32>();
                let charge = self.ledger.charge(order as u64)?;
                let batches = dataset.batches(split, batching.size as usize, batching.shuffle);
                // What is read ahead is held for this reader too; where that does not fit, it does without.
                let ahead = batches.ahead_byte_len().and_then(|bytes| self.ledger.reserve(bytes).ok());
                let batches = if ahead.is_some() { batches.read_ahead() } else { batches };
                Ok(Ok(self.table.push(GuestBatches { batches, _charges: (charge, ahead) })?))
            }
            Err(message) => Ok(Err(message)),
        }
    }
}

impl dataset::HostBatches for State {
    #[allow(clippy::type_complexity, reason = "the type that the bindings ask for")]
    fn next(
        &mut self,
        this: Resource<GuestBatches>,
    ) -> wasmtime::Result<Result<Option<Vec<(String, Resource<GuestTensor>)>>, String>> {
        let batches = &mut self.table.get_mut(&this)?.batches;
        // Looked at before the batch is made: a batch that would not fit is never allocated.
        self.ledger.charge(batches.next_byte_len())?;
        match batches.try_next() {
            Ok(Some(batch)) => Ok(Ok(Some(self.push_tensors(batch)?))),
            Ok(None) => Ok(Ok(None)),
            Err(message) => Ok(Err(message)),
        }
    }

    fn drop(&mut self, this: Resource<GuestBatches>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

const fn from_guest(split: Split) -> data::Split {
    match split {
        Split::Train => data::Split::Train,
        Split::Test => data::Split::Test,
        Split::All => data::Split::All,
    }
}
