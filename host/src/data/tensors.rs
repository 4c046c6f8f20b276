//! Samples' tensors as the host's: their vectors are taken over, and nothing is copied but where arrays are written.

use std::io::{self, Seek, Write};

use sedge_data::Values;

use crate::nn::{DType, NnError, Tensor, bf16, f16};

/// The host's word for a type.
pub fn dtype(dtype: sedge_data::DType) -> DType {
    match dtype {
        sedge_data::DType::F32 => DType::F32,
        sedge_data::DType::F64 => DType::F64,
        sedge_data::DType::F16 => DType::F16,
        sedge_data::DType::BF16 => DType::BF16,
        sedge_data::DType::I64 => DType::I64,
        sedge_data::DType::I32 => DType::I32,
        sedge_data::DType::U8 => DType::U8,
    }
}

/// A batch as guests get it.
pub fn batch(batch: sedge_data::Batch) -> Result<Vec<(String, Tensor)>, NnError> {
    batch.into_iter().map(|(name, tensor)| Ok((name, taken(tensor)?))).collect()
}

fn taken(tensor: sedge_data::Tensor) -> Result<Tensor, NnError> {
    let shape = &tensor.shape[..];
    match tensor.values {
        Values::F32(values) => Tensor::from_vec(shape, values),
        Values::F64(values) => Tensor::from_vec(shape, values),
        Values::F16(values) => Tensor::from_vec(shape, values),
        Values::BF16(values) => Tensor::from_vec(shape, values),
        Values::I64(values) => Tensor::from_vec(shape, values),
        Values::I32(values) => Tensor::from_vec(shape, values),
        Values::U8(values) => Tensor::from_vec(shape, values),
    }
}

/// An NPZ archive of these tensors.
pub(crate) fn write_npz(file: impl Write + Seek, tensors: &[(String, Tensor)]) -> io::Result<()> {
    let copied = |(name, tensor): &(String, Tensor)| Ok((name.clone(), copied(tensor)?));
    let arrays: Result<Vec<_>, NnError> = tensors.iter().map(copied).collect();
    sedge_data::write_npz(file, &arrays.map_err(io::Error::other)?)
}

fn copied(tensor: &Tensor) -> Result<sedge_data::Tensor, NnError> {
    let values = match tensor.dtype() {
        DType::F32 => Values::F32(tensor.as_slice::<f32>()?.to_vec()),
        DType::F64 => Values::F64(tensor.as_slice::<f64>()?.to_vec()),
        DType::F16 => Values::F16(tensor.as_slice::<f16>()?.to_vec()),
        DType::BF16 => Values::BF16(tensor.as_slice::<bf16>()?.to_vec()),
        DType::I64 => Values::I64(tensor.as_slice::<i64>()?.to_vec()),
        DType::I32 => Values::I32(tensor.as_slice::<i32>()?.to_vec()),
        DType::U8 => Values::U8(tensor.as_slice::<u8>()?.to_vec()),
    };
    Ok(sedge_data::Tensor { shape: tensor.shape().to_vec(), values })
}
