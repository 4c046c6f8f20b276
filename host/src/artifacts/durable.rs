//! Writing a file so that a kill at any moment leaves the old content or the new one, never a part.
//! Used by everything on the node that must survive a restart. Blocking.

use std::io::{self, Write};

use cap_std::fs::Dir;

/// Replace the file `name` in `dir` by the concatenation of `parts`, durably.
///
/// One writer per name at a time: the caller owns the name.
pub(crate) fn replace<P: AsRef<[u8]>>(dir: &Dir, name: &str, parts: &[P]) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    let mut file = dir.create(&temporary)?;
    for part in parts {
        file.write_all(part.as_ref())?;
    }
    file.sync_all()?;
    drop(file);
    dir.rename(&temporary, dir, name)?;
    sync(dir)
}

/// Make what happened to the names in `dir` durable.
pub(crate) fn sync(dir: &Dir) -> io::Result<()> {
    // A `Dir` is opened as a path alone, which cannot be synced.
    dir.open(".")?.sync_all()
}

/// Read a file of at most `limit` bytes; `None` where there is none.
pub(crate) fn read(dir: &Dir, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match dir.metadata(name) {
        Ok(metadata) if metadata.len() > limit => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{name} has {} bytes, more than {limit}", metadata.len()),
        )),
        Ok(_) => dir.read(name).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
