//! `sedge:worker/model`: weights as handles.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::bindings::model;
use super::graphs::GuestGraph;
use super::memory::Charge;
use super::state::{MAX_TENSORS, State};
use super::tensors::{GuestTensor, Held};
use crate::model::{Weights, bind};
use crate::nn::Tensor;

/// A guest's handle to weights.
pub struct GuestWeights {
    pub weights: Weights,
    /// Of each tensor, in the tensors' order.
    charges: Vec<Arc<Charge>>,
    /// Of all that they are beside their tensors.
    _own: Charge,
}

/// Bytes that an entry of a list of names takes, roughly, beside the name's.
const ENTRY: u64 = 256;

fn names_len<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    names.map(|name| ENTRY + name.len() as u64).sum()
}

impl State {
    /// Grant weights to the guest; they count as its own.
    pub fn push_weights(&mut self, weights: Weights) -> wasmtime::Result<Resource<GuestWeights>> {
        // One charge for all: they lie in one file or one message, which lasts as long as any of them.
        let charge = Arc::new(self.ledger.charge(weights.byte_len())?);
        let charges = vec![charge; weights.tensors().len()];
        self.push_charged(weights, charges)
    }

    fn push_charged(
        &mut self,
        weights: Weights,
        charges: Vec<Arc<Charge>>,
    ) -> wasmtime::Result<Resource<GuestWeights>> {
        let header = weights.safetensors_len() - weights.byte_len();
        let names = names_len(weights.tensors().iter().map(|(name, _)| name.as_str()));
        let own = self.ledger.charge(header + names)?;
        Ok(self.table.push(GuestWeights { weights, charges, _own: own })?)
    }

    /// Take back weights that the guest returned.
    pub fn take_weights(&mut self, handle: Resource<GuestWeights>) -> wasmtime::Result<Weights> {
        Ok(self.table.delete(handle)?.weights)
    }
}

impl model::Host for State {}

impl model::HostWeights for State {
    fn new(
        &mut self,
        tensors: Vec<(String, Resource<GuestTensor>)>,
    ) -> wasmtime::Result<Resource<GuestWeights>> {
        if tensors.len() > MAX_TENSORS {
            wasmtime::bail!("weights of {} tensors; at most {MAX_TENSORS} are taken", tensors.len());
        }
        let mut named: Vec<(String, Tensor, Arc<Charge>)> = Vec::with_capacity(tensors.len());
        for (name, handle) in tensors {
            let (tensor, charge) = self.tensors.take(&handle)?.into_parts();
            let tensor = tensor.map_err(|e| wasmtime::format_err!("weight `{name:.100}`: {e}"))?;
            named.push((name, tensor, charge.share()));
        }
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let charges = named.iter().map(|(_, _, charge)| Arc::clone(charge)).collect();
        let weights = Weights::new(named.into_iter().map(|(name, tensor, _)| (name, tensor)).collect())
            .map_err(|e| wasmtime::format_err!("weights: {e}"))?;
        self.push_charged(weights, charges)
    }

    fn tensors(
        &mut self,
        this: Resource<GuestWeights>,
    ) -> wasmtime::Result<Vec<(String, Resource<GuestTensor>)>> {
        let GuestWeights { weights, charges, .. } = self.table.get(&this)?;
        let tensors = weights.tensors().iter().zip(charges);
        tensors
            .map(|((name, tensor), charge)| {
                let handle = GuestTensor::new(tensor.clone(), Held::Shared(Arc::clone(charge)));
                Ok((name.clone(), self.tensors.push(handle)?))
            })
            .collect()
    }

    fn bind(
        &mut self,
        this: Resource<GuestWeights>,
        name: String,
    ) -> wasmtime::Result<Result<Resource<GuestGraph>, String>> {
        let GuestWeights { weights, charges, .. } = self.table.get(&this)?;
        let (weights, mut charges) = (weights.clone(), charges.clone());
        let graph = match self.graph(&name) {
            Ok(graph) => graph,
            Err(message) => return Ok(Err(message)),
        };
        let names = names_len(graph.inputs().iter().map(|input| input.name.as_str()));
        charges.push(Arc::new(self.ledger.charge(names)?));
        match bind(graph, &weights, self.binding) {
            // The graph keeps the weights, also when the guest has dropped its handles to them.
            Ok(graph) => Ok(Ok(self.table.push(GuestGraph::new(graph, charges))?)),
            Err(error) => Ok(Err(error.message)),
        }
    }

    fn drop(&mut self, this: Resource<GuestWeights>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
