//! `wasi:nn/tensor` and `wasi:nn/errors`: handles to tensors that stay on the host.

use std::sync::Arc;

use slab::Slab;
use wasmtime::component::Resource;

use super::bindings::nn::errors::{self, ErrorCode};
use super::bindings::nn::tensor::{self, TensorType};
use super::memory::Charge;
use super::state::{MAX_HANDLES, State};
use crate::nn::{self, DType, MAX_RANK, NnError, Tensor, check_len, copies};

/// A guest's handle to a tensor.
pub struct GuestTensor {
    content: Content,
    /// The memory it stands for.
    charge: Held,
}

enum Content {
    Valid(Tensor),
    /// `wasi:nn`'s constructor cannot fail, so what is wrong is told by the first `compute`.
    Invalid {
        dimensions: Vec<u32>,
        ty: TensorType,
        data: Vec<u8>,
        error: NnError,
    },
}

impl GuestTensor {
    pub fn new(tensor: Tensor, charge: Held) -> Self {
        Self { content: Content::Valid(tensor), charge }
    }

    /// The tensor, or what is wrong with how the guest made it.
    pub fn into_tensor(self) -> Result<Tensor, NnError> {
        self.into_parts().0
    }

    /// As [`Self::into_tensor`], and the memory that it stands for.
    pub fn into_parts(self) -> (Result<Tensor, NnError>, Held) {
        let tensor = match self.content {
            Content::Valid(tensor) => Ok(tensor),
            Content::Invalid { error, .. } => Err(error),
        };
        (tensor, self.charge)
    }
}

/// Memory on the account for as long as there is a handle. Most tensors have one, and go with it.
pub enum Held {
    /// For this handle.
    Alone(Charge),
    /// For all handles to the same tensor, or to tensors that lie in one piece.
    Shared(Arc<Charge>),
}

impl Held {
    pub fn share(self) -> Arc<Charge> {
        match self {
            Self::Alone(charge) => Arc::new(charge),
            Self::Shared(charge) => charge,
        }
    }
}

/// The tensors that a guest has handles to: the handle's number is the place here. Handles come and go with every step
/// of a training loop, so they have a table of their own, that of one type.
#[derive(Default)]
pub struct Tensors(Slab<GuestTensor>);

impl Tensors {
    pub fn push(&mut self, tensor: GuestTensor) -> wasmtime::Result<Resource<GuestTensor>> {
        if self.0.len() >= MAX_HANDLES {
            wasmtime::bail!("the worker holds {MAX_HANDLES} handles to tensors, which is all that it may");
        }
        // As many as there may be fit.
        Ok(Resource::new_own(self.0.insert(tensor) as u32))
    }

    pub fn get(&self, handle: &Resource<GuestTensor>) -> wasmtime::Result<&GuestTensor> {
        self.0.get(handle.rep() as usize).ok_or_else(not_there)
    }

    pub fn take(&mut self, handle: &Resource<GuestTensor>) -> wasmtime::Result<GuestTensor> {
        self.0.try_remove(handle.rep() as usize).ok_or_else(not_there)
    }
}

/// Guests cannot bring it about: wasmtime knows which handles they have.
fn not_there() -> wasmtime::Error {
    wasmtime::format_err!("a handle to a tensor that is not there")
}

/// A guest's handle to an error.
pub struct GuestError {
    error: NnError,
    _charge: Charge,
}

impl State {
    /// The `Err` of a `wasi:nn` function.
    pub fn nn_error<T>(&mut self, error: NnError) -> wasmtime::Result<Result<T, Resource<GuestError>>> {
        let charge = self.ledger.charge(error.message.len() as u64)?;
        Ok(Err(self.table.push(GuestError { error, _charge: charge })?))
    }
}

impl tensor::Host for State {}

impl tensor::HostTensor for State {
    fn new(
        &mut self,
        dimensions: Vec<u32>,
        ty: TensorType,
        data: Vec<u8>,
    ) -> wasmtime::Result<Resource<GuestTensor>> {
        let held = data.len() + size_of_val(dimensions.as_slice());
        let charge = Held::Alone(self.ledger.charge(held as u64)?);
        // wasmtime copied it out of the guest.
        copies::count(data.len());
        let content = match check(&dimensions, ty, data.len()) {
            Ok(shape) => match Tensor::from_byte_vec(from_guest(ty), &shape, data) {
                Ok(tensor) => Content::Valid(tensor),
                // For want of memory, and the data went with it.
                Err(error) => Content::Invalid { dimensions, ty, data: Vec::new(), error },
            },
            Err(error) => Content::Invalid { dimensions, ty, data, error },
        };
        self.tensors.push(GuestTensor { content, charge })
    }

    fn dimensions(&mut self, this: Resource<GuestTensor>) -> wasmtime::Result<Vec<u32>> {
        match &self.tensors.get(&this)?.content {
            Content::Valid(tensor) => tensor
                .shape()
                .iter()
                .map(|size| {
                    u32::try_from(*size)
                        .map_err(|_| wasmtime::format_err!("a dimension of {size} is over 2³² − 1"))
                })
                .collect(),
            Content::Invalid { dimensions, .. } => Ok(dimensions.clone()),
        }
    }

    fn ty(&mut self, this: Resource<GuestTensor>) -> wasmtime::Result<TensorType> {
        Ok(match &self.tensors.get(&this)?.content {
            Content::Valid(tensor) => to_guest(tensor.dtype()),
            Content::Invalid { ty, .. } => *ty,
        })
    }

    fn data(&mut self, this: Resource<GuestTensor>) -> wasmtime::Result<Vec<u8>> {
        let bytes = match &self.tensors.get(&this)?.content {
            Content::Valid(tensor) => tensor.bytes(),
            Content::Invalid { data, .. } => data,
        };
        // Looked at before the copy is made: one that would not fit is never allocated.
        self.ledger.charge(bytes.len() as u64)?;
        // Here, and by wasmtime into the guest.
        copies::count(2 * bytes.len());
        Ok(bytes.to_vec())
    }

    fn drop(&mut self, this: Resource<GuestTensor>) -> wasmtime::Result<()> {
        self.tensors.take(&this)?;
        Ok(())
    }
}

/// The shape, if that many bytes make a tensor of it.
fn check(dimensions: &[u32], ty: TensorType, bytes: usize) -> Result<Vec<usize>, NnError> {
    if dimensions.len() > MAX_RANK {
        let message =
            format!("a tensor has at most {MAX_RANK} dimensions, this one has {}", dimensions.len());
        return Err(NnError::too_large(message));
    }
    let shape: Vec<usize> = dimensions.iter().map(|size| *size as usize).collect();
    check_len(from_guest(ty), &shape, bytes)?;
    Ok(shape)
}

pub const fn from_guest(ty: TensorType) -> DType {
    match ty {
        TensorType::Fp16 => DType::F16,
        TensorType::Fp32 => DType::F32,
        TensorType::Fp64 => DType::F64,
        TensorType::Bf16 => DType::BF16,
        TensorType::U8 => DType::U8,
        TensorType::I32 => DType::I32,
        TensorType::I64 => DType::I64,
    }
}

const fn to_guest(dtype: DType) -> TensorType {
    match dtype {
        DType::F16 => TensorType::Fp16,
        DType::F32 => TensorType::Fp32,
        DType::F64 => TensorType::Fp64,
        DType::BF16 => TensorType::Bf16,
        DType::U8 => TensorType::U8,
        DType::I32 => TensorType::I32,
        DType::I64 => TensorType::I64,
    }
}

impl errors::Host for State {}

impl errors::HostError for State {
    fn code(&mut self, this: Resource<GuestError>) -> wasmtime::Result<ErrorCode> {
        Ok(match self.table.get(&this)?.error.code {
            nn::ErrorCode::InvalidArgument => ErrorCode::InvalidArgument,
            nn::ErrorCode::InvalidEncoding => ErrorCode::InvalidEncoding,
            nn::ErrorCode::Timeout => ErrorCode::Timeout,
            nn::ErrorCode::RuntimeError => ErrorCode::RuntimeError,
            nn::ErrorCode::UnsupportedOperation => ErrorCode::UnsupportedOperation,
            nn::ErrorCode::TooLarge => ErrorCode::TooLarge,
            nn::ErrorCode::NotFound => ErrorCode::NotFound,
            nn::ErrorCode::Security => ErrorCode::Security,
            nn::ErrorCode::Unknown => ErrorCode::Unknown,
        })
    }

    fn data(&mut self, this: Resource<GuestError>) -> wasmtime::Result<String> {
        Ok(self.table.get(&this)?.error.message.clone())
    }

    fn drop(&mut self, this: Resource<GuestError>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
