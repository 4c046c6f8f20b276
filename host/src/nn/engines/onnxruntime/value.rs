//! Tensors as the engine's values, and back: neither way is a copy.

use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::{Arc, LazyLock};

use ort::sys::{self, ONNXTensorElementDataType as Element};
use sedge_onnx::ElementType;

use super::error::check;
use crate::nn::{DType, EngineMemory, MAX_RANK, NnError, Tensor, copies};

/// A value of the engine's that we hold.
pub struct Value(NonNull<sys::OrtValue>);

#[allow(unsafe_code)]
// SAFETY: a value belongs to no thread: the engine counts its references atomically.
unsafe impl Send for Value {}
#[allow(unsafe_code)]
// SAFETY: behind a shared reference a value is only read: by us, and by the engine, which never writes to inputs.
unsafe impl Sync for Value {}

impl Drop for Value {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the pointer came from the engine, is released here alone, and `self` is not used again.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) }
    }
}

impl Value {
    /// Takes over a value that the engine made for us.
    ///
    /// # Safety
    /// `value` is a valid value that no one else releases.
    #[allow(unsafe_code)]
    pub unsafe fn from_raw(value: NonNull<sys::OrtValue>) -> Self {
        Self(value)
    }

    /// The output called `name` as a tensor over the engine's memory; `inputs` are what it was computed of.
    pub fn into_tensor(self, name: &str, inputs: &[Borrowed<'_>]) -> Result<Tensor, NnError> {
        let output = Output::new(self, name)?;
        let (dtype, shape) = (output.dtype, output.shape.clone());
        // An engine that hands an input through as an output would leave us a value over memory that the
        // caller may free or write over.
        let range = output.bytes().as_ptr_range();
        if !range.is_empty() && inputs.iter().any(|input| input.is_lent_from(&range)) {
            return Tensor::from_bytes(dtype, &shape, output.bytes());
        }
        Tensor::from_engine(dtype, &shape, Arc::new(output))
    }
}

/// A tensor that the engine put out.
pub struct Output {
    value: Value,
    element: Element,
    dtype: DType,
    shape: Vec<usize>,
    start: *const u8,
    len: usize,
}

#[allow(unsafe_code)]
// SAFETY: `start` points into the memory of `value`, which is `Send` and goes along.
unsafe impl Send for Output {}
#[allow(unsafe_code)]
// SAFETY: the memory at `start` is only read.
unsafe impl Sync for Output {}

impl EngineMemory for Output {
    #[allow(unsafe_code)]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is valid for `len` bytes for as long as `value` lives (checked in `new`), which the
        // engine has computed to the end and writes no more: it never computes over an input.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl Output {
    /// The engine's value.
    #[cfg(test)]
    pub fn as_ptr(&self) -> *const sys::OrtValue {
        self.value.0.as_ptr()
    }

    #[allow(unsafe_code)]
    fn new(value: Value, name: &str) -> Result<Self, NnError> {
        let api = ort::api();
        let raw = value.0.as_ptr();
        let other = |what: &str| {
            NnError::unsupported(format!("output \"{name}\" is {what}, for which wasi:nn has no type"))
        };
        let (mut is_tensor, mut element) = (0, Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED);
        let (mut dims, mut rank) = (ptr::null(), 0);
        // SAFETY: `raw` is valid, and each call writes what its pointer points to.
        check(unsafe { (api.IsTensor)(raw, &mut is_tensor) })?;
        if is_tensor == 0 {
            return Err(other("no tensor"));
        }
        // SAFETY: as above; `dims` points to `rank` sizes that live as long as the value.
        let dims = unsafe {
            check((api.GetTensorElementTypeAndShapeDataReference)(raw, &mut element, &mut dims, &mut rank))?;
            if rank == 0 { &[] } else { std::slice::from_raw_parts(dims, rank) }
        };
        let dtype = dtype(element).ok_or_else(|| other("of another element type"))?;
        let shape = dims.iter().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| NnError::runtime(format!("output \"{name}\" has a negative size")))?;
        let len = crate::nn::element_count(dtype, &shape)? * dtype.size();
        let mut start = ptr::null_mut();
        if len > 0 {
            // SAFETY: the value is a tensor of numbers, whose data are `len` bytes: elements of that shape.
            check(unsafe { (api.GetTensorMutableData)(raw, &mut start) })?;
        }
        if len > 0 && start.is_null() {
            return Err(NnError::runtime(format!("ONNX Runtime gave output \"{name}\" no memory")));
        }
        let start = NonNull::new(start.cast::<u8>()).unwrap_or_else(|| NonNull::<u64>::dangling().cast());
        Ok(Self { value, element, dtype, shape, start: start.as_ptr(), len })
    }
}

fn dtype(element: Element) -> Option<DType> {
    Some(match element {
        Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 => DType::F16,
        Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT => DType::F32,
        Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE => DType::F64,
        Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 => DType::BF16,
        Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 | Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL => {
            DType::U8
        }
        Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 => DType::I32,
        Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 => DType::I64,
        _ => return None,
    })
}

/// What the engine calls the element type that a graph declares.
fn element(declared: ElementType) -> Option<Element> {
    Some(match declared {
        ElementType::F16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        ElementType::F32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        ElementType::F64 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        ElementType::Bf16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        ElementType::U8 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        ElementType::Bool => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        ElementType::I32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        ElementType::I64 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        ElementType::Other(_) => return None,
    })
}

/// An input while the engine computes: keeps its tensor alive.
pub struct Input {
    tensor: Tensor,
    element: Element,
}

impl Input {
    /// `tensor` for an input that the graph declares as `declared`, whose dtype it has.
    pub fn of(tensor: Tensor, declared: ElementType) -> Result<Self, NnError> {
        let element = element(declared)
            .ok_or_else(|| NnError::unsupported(format!("{} has no dtype", declared.name())))?;
        // To the engine a truth value is a C++ `bool`, of which there are two.
        if declared == ElementType::Bool && tensor.bytes().iter().any(|&byte| byte > 1) {
            copies::count(tensor.byte_len());
            let truths: Vec<u8> = tensor.bytes().iter().map(|&byte| u8::from(byte != 0)).collect();
            return Ok(Self { tensor: Tensor::from_vec(tensor.shape(), truths)?, element });
        }
        Ok(Self { tensor, element })
    }

    /// The engine's value for it.
    pub fn borrow(&self) -> Result<Borrowed<'_>, NnError> {
        if let Some(output) = self.tensor.engine_memory::<Output>()
            && output.element == self.element
            && output.shape == self.tensor.shape()
        {
            return Ok(Borrowed { value: output.value.0, lent: None, _input: PhantomData });
        }
        Ok(Borrowed { value: self.lend()?, lent: Some(self.tensor.bytes()), _input: PhantomData })
    }

    /// A value over the tensor's memory.
    #[allow(unsafe_code)]
    fn lend(&self) -> Result<NonNull<sys::OrtValue>, NnError> {
        let mut dims = [0i64; MAX_RANK];
        let shape = self.tensor.shape();
        for (dim, &size) in dims.iter_mut().zip(shape) {
            *dim = i64::try_from(size).map_err(|_| NnError::too_large(format!("a dimension of {size}")))?;
        }
        let bytes = self.tensor.bytes();
        let mut value = ptr::null_mut();
        // SAFETY: the engine makes a value over `bytes` and does not own them. They live as long as `self`,
        // which the `Borrowed` that releases the value borrows; an engine never writes to inputs, so that
        // casting `const` away is a formality of the C interface. Tensors have at most `MAX_RANK` dimensions.
        check(unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                CPU.0.as_ptr(),
                bytes.as_ptr().cast_mut().cast(),
                bytes.len(),
                dims.as_ptr(),
                shape.len(),
                self.element,
                &mut value,
            )
        })?;
        NonNull::new(value).ok_or_else(|| NnError::runtime("ONNX Runtime made no value of an input"))
    }
}

/// The engine's value for an input, for as long as the input is there.
pub struct Borrowed<'a> {
    value: NonNull<sys::OrtValue>,
    /// The tensor's memory, where the value was made over it and goes with this.
    lent: Option<&'a [u8]>,
    _input: PhantomData<&'a Input>,
}

impl Borrowed<'_> {
    /// For the engine to read.
    pub fn as_ptr(&self) -> *const sys::OrtValue {
        self.value.as_ptr()
    }

    /// Whether some of `range` is memory that this lends.
    fn is_lent_from(&self, range: &std::ops::Range<*const u8>) -> bool {
        self.lent.is_some_and(|bytes| {
            let lent = bytes.as_ptr_range();
            lent.start < range.end && range.start < lent.end
        })
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if self.lent.is_some() {
            #[allow(unsafe_code)]
            // SAFETY: the value was made by `lend` for this alone.
            unsafe {
                (ort::api().ReleaseValue)(self.value.as_ptr());
            }
        }
    }
}

/// What says that memory is the processor's.
struct MemoryInfo(NonNull<sys::OrtMemoryInfo>);

#[allow(unsafe_code)]
// SAFETY: it is made once and only read.
unsafe impl Send for MemoryInfo {}
#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl Sync for MemoryInfo {}

/// Kept to the process's end, as the library is.
static CPU: LazyLock<MemoryInfo> = LazyLock::new(|| {
    let mut info = ptr::null_mut();
    let (kind, place) = (sys::OrtAllocatorType::OrtDeviceAllocator, sys::OrtMemType::OrtMemTypeDefault);
    #[allow(unsafe_code)]
    // SAFETY: the call writes `info`.
    let status = unsafe { (ort::api().CreateCpuMemoryInfo)(kind, place, &mut info) };
    check(status).expect("a description of the processor's memory takes a few bytes and no more");
    MemoryInfo(NonNull::new(info).expect("a call that succeeds has written it"))
});

/// Where the value's elements lie.
#[cfg(test)]
#[allow(unsafe_code)]
pub fn data(value: &Borrowed<'_>) -> *const u8 {
    let mut start = ptr::null_mut();
    // SAFETY: the value is a tensor, and the call writes where its elements lie.
    check(unsafe { (ort::api().GetTensorMutableData)(value.value.as_ptr(), &mut start) }).unwrap();
    start.cast()
}
