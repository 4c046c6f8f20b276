//! Files of the artifact store in memory, read by the system when they are looked at and dropped when it needs room.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// Maps `file`, one of the artifact store's.
pub(crate) fn map(file: &File) -> io::Result<Mmap> {
    #[allow(unsafe_code)]
    // SAFETY: the memory changes only if the file is modified or truncated in place. Files of the artifact
    // store are written under another name, verified, renamed, and never opened for writing again; removing
    // one leaves the mapping as it is.
    unsafe {
        MmapOptions::new().map(file)
    }
}
