//! The memory that a worker may hold: linear memory and tensors, counted together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// Bytes of a table's element.
const ELEMENT: usize = size_of::<usize>();

/// One worker's account of memory.
#[derive(Debug)]
pub struct Ledger {
    limit: u64,
    used: AtomicU64,
    refused: AtomicBool,
}

/// Memory held on a [`Ledger`]; dropping it gives the memory back.
#[derive(Debug)]
pub struct Charge {
    ledger: Arc<Ledger>,
    bytes: u64,
}

/// More memory was asked for than the worker was granted.
#[derive(Debug, thiserror::Error)]
#[error(
    "{asked} more bytes would go over the worker's memory limit of {limit} bytes, of which {used} are in use"
)]
pub struct OverLimit {
    asked: u64,
    used: u64,
    limit: u64,
}

impl Ledger {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0), refused: AtomicBool::new(false) })
    }

    /// Hold `bytes` until the charge is dropped.
    pub fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge, OverLimit> {
        self.take(bytes)?;
        Ok(Charge { ledger: Arc::clone(self), bytes })
    }

    /// As [`Self::charge`], for what the guest can do without: a refusal is an error that it is told of, and no
    /// reason to take a later trap for an allocator giving up.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Charge, OverLimit> {
        self.add(bytes)?;
        Ok(Charge { ledger: Arc::clone(self), bytes })
    }

    /// Whether anything was ever refused: a trap that follows is most likely an allocator giving up.
    pub fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// A call begins that earlier ones' refusals say nothing of.
    pub fn forget_refusals(&self) {
        self.refused.store(false, Ordering::Relaxed);
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn take(&self, bytes: u64) -> Result<(), OverLimit> {
        self.add(bytes).inspect_err(|_| self.refused.store(true, Ordering::Relaxed))
    }

    fn add(&self, bytes: u64) -> Result<(), OverLimit> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        match self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(used) => Err(OverLimit { asked: bytes, used, limit: self.limit }),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Linear memory and tables go on the ledger as they grow, and come off with the store, whose ledger it is.
pub struct Limiter(pub Arc<Ledger>);

impl Limiter {
    fn grow(&self, by: usize, fits: bool) -> bool {
        // What a memory's own maximum forbids is a refusal too: an allocator in the guest gives up over it.
        if !fits {
            self.0.refused.store(true, Ordering::Relaxed);
        }
        fits && self.0.take(by as u64).is_ok()
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(self.grow(desired.saturating_sub(current), fits))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(ELEMENT), fits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_and_linear_memory_share_one_limit() {
        let ledger = Ledger::new(100);
        let mut limiter = Limiter(Arc::clone(&ledger));
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        let tensor = ledger.charge(40).unwrap();
        assert!(!limiter.memory_growing(60, 61, None).unwrap());
        drop(tensor);
        assert!(limiter.memory_growing(60, 61, None).unwrap());
        assert!(ledger.refused());
    }

    #[test]
    fn tables_count_and_a_maximum_is_a_refusal() {
        let ledger = Ledger::new(100);
        let mut limiter = Limiter(Arc::clone(&ledger));
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(!ledger.refused());
        assert!(!limiter.memory_growing(0, 10, Some(9)).unwrap());
        assert!(ledger.refused());
        assert!(!limiter.memory_growing(0, 21, None).unwrap());
        assert!(!limiter.table_growing(10, usize::MAX, None).unwrap());
    }

    #[test]
    fn a_charge_that_overflows_is_refused() {
        let ledger = Ledger::new(u64::MAX);
        let _held = ledger.charge(1).unwrap();
        let error = ledger.charge(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("limit of 18446744073709551615 bytes, of which 1 are in use"), "{error}");
    }
}
