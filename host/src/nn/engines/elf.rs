//! A look at a file before the system's loader maps it: a library that a broken download cut off would end the
//! process as soon as its missing pages are touched.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Sizes and places in an ELF header of 64 bits, little endian.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// `PT_LOAD`: mapped into memory.
const LOAD: u32 = 1;

/// Whether the file is whole as far as can be seen; Err says what is wrong. Files of other systems' formats
/// are left to their loaders.
pub fn check(path: &Path) -> Result<(), String> {
    if !cfg!(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")) {
        return Ok(());
    }
    let unreadable = |error| format!("it cannot be read: {error}");
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut header = [0; HEADER];
    if length < HEADER as u64
        || file.read_exact(&mut header).is_err()
        || !header.starts_with(b"\x7fELF\x02\x01")
    {
        return Err("it is no shared library".to_owned());
    }
    let start = u64::from_le_bytes(part(&header, 32));
    let (size, count) = (u16::from_le_bytes(part(&header, 54)), u16::from_le_bytes(part(&header, 56)));
    if usize::from(size) != PROGRAM_HEADER {
        return Err("it is no shared library".to_owned());
    }
    let mut programs = vec![0; PROGRAM_HEADER * usize::from(count)];
    file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
    file.read_exact(&mut programs).map_err(|_| cut_off(length))?;
    for program in programs.as_chunks::<PROGRAM_HEADER>().0 {
        let (kind, offset, size) = (
            u32::from_le_bytes(part(program, 0)),
            u64::from_le_bytes(part(program, 8)),
            u64::from_le_bytes(part(program, 32)),
        );
        if kind == LOAD && offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(cut_off(length));
        }
    }
    Ok(())
}

fn cut_off(length: u64) -> String {
    format!("it is cut off: a file of {length} bytes that says it has more")
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_passes_and_a_part_of_one_does_not() {
        let this = std::env::current_exe().unwrap();
        assert_eq!(check(&this), Ok(()));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let mut whole = vec![0; 1 << 16];
        File::open(&this).unwrap().read_exact(&mut whole).unwrap();
        std::fs::write(&path, &whole).unwrap();
        assert!(check(&path).unwrap_err().starts_with("it is cut off"));
        for text in ["", "#!/bin/sh\n", &"x".repeat(200)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(check(&path).unwrap_err(), "it is no shared library");
        }
        assert!(check(Path::new("/nowhere")).unwrap_err().starts_with("it cannot be read"));
    }
}
