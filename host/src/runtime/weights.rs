//! `sedge:worker/model`: weights as handles.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::bindings::model;
use super::graphs::GuestGraph;
use super::memory::Charge;
use super::state::{MAX_TENSORS, State};
use super::tensors::GuestTensor;
use crate::model::{Weights, bind};
use crate::nn::Tensor;

/// A guest's handle to weights, with the charge of each tensor in the tensors' order.
pub struct GuestWeights {
    pub weights: Weights,
    charges: Vec<Arc<Charge>>,
}

impl State {
    /// Grant weights to the guest; they count as its own.
    pub fn push_weights(&mut self, weights: Weights) -> wasmtime::Result<Resource<GuestWeights>> {
        let charges = weights
            .tensors()
            .iter()
            .map(|(_, tensor)| Ok(Arc::new(self.charge(tensor)?)))
            .collect::<wasmtime::Result<_>>()?;
        Ok(self.table.push(GuestWeights { weights, charges })?)
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
            let guest = self.table.delete(handle)?;
            let charge = Arc::clone(&guest.charge);
            let tensor =
                guest.into_tensor().map_err(|e| wasmtime::format_err!("weight `{name:.100}`: {e}"))?;
            named.push((name, tensor, charge));
        }
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let charges = named.iter().map(|(_, _, charge)| Arc::clone(charge)).collect();
        let weights = Weights::new(named.into_iter().map(|(name, tensor, _)| (name, tensor)).collect())
            .map_err(|e| wasmtime::format_err!("weights: {e}"))?;
        Ok(self.table.push(GuestWeights { weights, charges })?)
    }

    fn tensors(
        &mut self,
        this: Resource<GuestWeights>,
    ) -> wasmtime::Result<Vec<(String, Resource<GuestTensor>)>> {
        let GuestWeights { weights, charges } = self.table.get(&this)?;
        let (weights, charges) = (weights.clone(), charges.clone());
        weights
            .tensors()
            .iter()
            .zip(charges)
            .map(|((name, tensor), charge)| {
                Ok((name.clone(), self.table.push(GuestTensor::new(tensor.clone(), charge))?))
            })
            .collect()
    }

    fn bind(
        &mut self,
        this: Resource<GuestWeights>,
        name: String,
    ) -> wasmtime::Result<Result<Resource<GuestGraph>, String>> {
        let weights = self.table.get(&this)?.weights.clone();
        let bound = self.graph(&name).and_then(|graph| bind(graph, &weights).map_err(|e| e.message));
        match bound {
            Ok(graph) => Ok(Ok(self.table.push(GuestGraph(graph))?)),
            Err(message) => Ok(Err(message)),
        }
    }

    fn drop(&mut self, this: Resource<GuestWeights>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
