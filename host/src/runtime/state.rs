//! What one instance of a worker holds on the host's side: its grants, its tensors and their account.

use std::sync::Arc;

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::Grants;
use super::memory::{Charge, Ledger, Limiter, OverLimit};
use super::stdio::Lines;
use super::tensors::{GuestTensor, Held, Tensors};
use crate::model::Binding;
use crate::nn::{Graphs, Tensor};

/// Handles that one instance may hold at once, to tensors and to all else.
pub const MAX_HANDLES: usize = 1 << 16;
/// Tensors in one list that crosses the border.
pub const MAX_TENSORS: usize = 1 << 14;

/// The data of a worker's store.
pub struct State {
    pub grants: Grants,
    pub graphs: Arc<Graphs>,
    pub ledger: Arc<Ledger>,
    pub limiter: Limiter,
    /// Tensors, and all else that guests have handles to.
    pub tensors: Tensors,
    pub table: ResourceTable,
    /// How it binds weights to graphs: at each call in every role that gets other weights each round.
    pub binding: Binding,
    wasi: WasiCtx,
}

impl State {
    pub fn new(grants: Grants, graphs: Arc<Graphs>) -> Self {
        let ledger = Ledger::new(grants.memory_bytes);
        let output = Lines::new(Arc::clone(&grants.observer));
        let wasi = WasiCtx::builder()
            .stdout(output.clone())
            .stderr(output)
            .allow_tcp(false)
            .allow_udp(false)
            .max_random_size(grants.memory_bytes)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            grants,
            graphs,
            limiter: Limiter(Arc::clone(&ledger)),
            ledger,
            tensors: Tensors::default(),
            table,
            binding: Binding::AtCall,
            wasi,
        }
    }

    /// Put a tensor of the worker's own on its account and hand out a handle.
    pub fn push_tensor(&mut self, tensor: Tensor) -> wasmtime::Result<Resource<GuestTensor>> {
        let charge = Held::Alone(self.charge(&tensor)?);
        self.tensors.push(GuestTensor::new(tensor, charge))
    }

    /// Put named tensors on the account and hand out handles.
    pub fn push_tensors(
        &mut self,
        tensors: Vec<(String, Tensor)>,
    ) -> wasmtime::Result<Vec<(String, Resource<GuestTensor>)>> {
        tensors.into_iter().map(|(name, tensor)| Ok((name, self.push_tensor(tensor)?))).collect()
    }

    /// Take back tensors that the guest returned, off its account; one that is not whole is the plugin's error.
    pub fn pull_tensors(
        &mut self,
        tensors: Vec<(String, Resource<GuestTensor>)>,
    ) -> wasmtime::Result<Result<Vec<(String, Tensor)>, String>> {
        if tensors.len() > MAX_TENSORS {
            wasmtime::bail!("{} tensors in one answer; at most {MAX_TENSORS} are taken", tensors.len());
        }
        let (mut pulled, mut invalid) = (Vec::with_capacity(tensors.len()), None);
        for (name, handle) in tensors {
            match self.tensors.take(&handle)?.into_tensor() {
                Ok(tensor) => pulled.push((name, tensor)),
                Err(error) => drop(invalid.get_or_insert(format!("output `{name:.100}`: {error}"))),
            }
        }
        Ok(invalid.map_or(Ok(pulled), Err))
    }

    /// The bytes of `tensor` on the worker's account.
    pub fn charge(&self, tensor: &Tensor) -> Result<Charge, OverLimit> {
        self.ledger.charge(tensor.byte_len() as u64)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
