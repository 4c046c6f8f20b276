//! Aligned memory that tensors are views of.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::mem;
use std::ptr::NonNull;
use std::sync::{Arc, Weak};

use memmap2::{Mmap, MmapMut};
use parking_lot::Mutex;

use super::NnError;

/// Where the memory of a [`Buffer`] begins: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;

/// Only for its alignment.
#[repr(align(64))]
struct CacheLine;
const _: () = assert!(align_of::<CacheLine>() == ALIGNMENT);

/// Buffers from this size on are mapped, in huge pages where the system has them: weights of tens of megabytes
/// come and go each round, and to touch them for the first time page by page costs several times the copy.
const MAPPED: usize = 4 << 20;

/// Writable memory, 64-byte aligned, of one owner; becomes tensors.
pub struct Buffer {
    memory: Memory,
    len: usize,
    /// Where its memory goes when it is dropped.
    home: Weak<Shelf>,
}

enum Memory {
    /// From the allocator; dangling where the length is zero.
    Heap(NonNull<u8>),
    /// Of the buffer's own length.
    Mapped(MmapMut),
}

impl Memory {
    /// None at all.
    const fn none() -> Self {
        Self::Heap(NonNull::<CacheLine>::dangling().cast())
    }
}

impl Buffer {
    /// Bounded by the caller.
    ///
    /// # Panics
    /// Where [`Self::try_zeroed`] gives an error; prefer that one for lengths that come from outside.
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `len` zero bytes; `TooLarge` where the system does not give so much.
    pub fn try_zeroed(len: usize) -> Result<Self, NnError> {
        let refused = || NnError::too_large(format!("{len} bytes of memory for a tensor are not to be had"));
        let layout = Layout::from_size_align(len, ALIGNMENT).map_err(|_| refused())?;
        if len >= MAPPED {
            let map = MmapMut::map_anon(len).map_err(|_| refused())?;
            #[cfg(target_os = "linux")]
            // A hint: a system without huge pages gives small ones.
            let _ = map.advise(memmap2::Advice::HugePage);
            return Ok(Self { memory: Memory::Mapped(map), len, home: Weak::new() });
        }
        if len == 0 {
            return Ok(Self { memory: Memory::none(), len, home: Weak::new() });
        }
        #[allow(unsafe_code)]
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        Ok(Self { memory: Memory::Heap(NonNull::new(start).ok_or_else(refused)?), len, home: Weak::new() })
    }

    /// A buffer with a copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, NnError> {
        let mut buffer = Self::try_zeroed(bytes.len())?;
        buffer.as_mut_slice().copy_from_slice(bytes);
        Ok(buffer)
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of it.
    #[allow(unsafe_code)]
    pub fn as_slice(&self) -> &[u8] {
        match &self.memory {
            // SAFETY: `start` is valid for `len` initialised bytes (zeroed at birth), or dangling and aligned
            // for none, until `drop`; a shared borrow of self excludes writers.
            Memory::Heap(start) => unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len) },
            Memory::Mapped(map) => map,
        }
    }

    /// All of it.
    #[allow(unsafe_code)]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match &mut self.memory {
            // SAFETY: as in `as_slice`; the exclusive borrow of the only owner excludes everyone else.
            Memory::Heap(start) => unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.len) },
            Memory::Mapped(map) => map,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match mem::replace(&mut self.memory, Memory::none()) {
            Memory::Heap(_) if self.len == 0 => {}
            #[allow(unsafe_code)]
            // SAFETY: `start` came from `alloc_zeroed` with this very layout, which was valid then.
            Memory::Heap(start) => unsafe {
                dealloc(start.as_ptr(), Layout::from_size_align_unchecked(self.len, ALIGNMENT));
            },
            Memory::Mapped(map) => {
                if let Some(shelf) = self.home.upgrade() {
                    shelf.keep(map);
                }
            }
        }
    }
}

#[allow(unsafe_code)]
// SAFETY: a `Buffer` is the only owner of plain bytes, and its methods follow Rust's borrowing.
unsafe impl Send for Buffer {}
#[allow(unsafe_code)]
// SAFETY: as above; a shared reference gives reading alone.
unsafe impl Sync for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

/// Mapped memory that buffers leave behind for later ones of the same length, while this lives.
///
/// A page that is touched for the first time is cleared by the kernel, which costs as much as filling it: who
/// receives weights of one size over and over fills the same pages again instead.
#[derive(Debug, Clone)]
pub struct Spares(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    most: usize,
    spare: Mutex<Vec<MmapMut>>,
}

impl Shelf {
    fn keep(&self, map: MmapMut) {
        let mut spare = self.spare.lock();
        if spare.len() < self.most {
            spare.push(map);
        }
    }
}

impl Spares {
    /// Keeps the memory of `most` buffers that are not in use.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shelf { most, spare: Mutex::default() }))
    }

    /// A buffer of `len` bytes to be filled: they are zero, or what an earlier buffer of these held.
    /// `TooLarge` where the system does not give so much. Spare memory of other lengths is given up.
    pub fn buffer(&self, len: usize) -> Result<Buffer, NnError> {
        let found = {
            let mut spare = self.0.spare.lock();
            spare.retain(|map| map.len() == len);
            spare.pop()
        };
        let mut buffer = match found {
            Some(map) => Buffer { memory: Memory::Mapped(map), len, home: Weak::new() },
            None => Buffer::try_zeroed(len)?,
        };
        buffer.home = Arc::downgrade(&self.0);
        Ok(buffer)
    }
}

/// Memory that several tensors are views of. Begins on a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub enum Region {
    /// On the heap.
    Buffer(Buffer),
    /// A file that is never modified in place.
    Mapped(Mmap),
}

impl Region {
    /// All of it.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer.as_slice(),
            Self::Mapped(map) => map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ErrorCode;

    #[test]
    fn a_buffer_is_aligned_and_zeroed() {
        for len in [0, 1, 63, 64, 1 << 20, MAPPED, MAPPED + 1] {
            let mut buffer = Buffer::try_zeroed(len).unwrap();
            assert_eq!(buffer.as_slice().as_ptr() as usize % ALIGNMENT, 0);
            assert_eq!(buffer.len(), len);
            assert!(buffer.as_slice().iter().all(|&byte| byte == 0));
            buffer.as_mut_slice().fill(1);
            assert!(buffer.as_slice().iter().all(|&byte| byte == 1));
        }
    }

    #[test]
    fn memory_is_used_again_by_the_next_buffer_of_its_length() {
        let spares = Spares::new(1);
        let address = |buffer: &Buffer| buffer.as_slice().as_ptr() as usize;
        let (first, second) = (spares.buffer(MAPPED).unwrap(), spares.buffer(MAPPED).unwrap());
        let kept = address(&first);
        drop((first, second));
        let again = spares.buffer(MAPPED).unwrap();
        assert_eq!(address(&again), kept);
        drop(again);
        assert_eq!(spares.0.spare.lock().len(), 1, "no more than asked for is kept");
        assert!(spares.buffer(MAPPED + 1).unwrap().as_slice().iter().all(|&byte| byte == 0));
        assert_eq!(spares.0.spare.lock().len(), 1, "the other length was given up, this one kept");
    }

    #[test]
    fn a_buffer_outlives_the_spares_that_it_came_from() {
        let spares = Spares::new(1);
        let mut buffer = spares.buffer(MAPPED).unwrap();
        drop(spares);
        buffer.as_mut_slice().fill(1);
        assert_eq!(buffer.as_slice()[MAPPED - 1], 1);
    }

    #[test]
    fn a_buffer_that_cannot_be_is_an_error() {
        for len in [usize::MAX, isize::MAX as usize, isize::MAX as usize - 64] {
            assert_eq!(Buffer::try_zeroed(len).unwrap_err().code, ErrorCode::TooLarge);
        }
    }
}
