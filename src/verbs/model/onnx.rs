//! ONNX files as exporters leave them: weights may lie beside a file, as PyTorch's exporter puts them, and come into
//! it here. What [`trainable`](super::trainable) reads, and what `sedge model push` uploads.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use sedge_onnx::proto::ModelProto;

/// Largest ONNX file, and most bytes of weights beside one, that are read: the protobuf format ends here too.
const MAX_FILE: u64 = 2 << 30;

/// A file, and what it says with all its weights in it.
pub struct File {
    /// As it lies on the disk.
    pub bytes: Bytes,
    /// Complete.
    pub model: ModelProto,
    /// How many of its tensors lay in other files.
    pub brought_in: usize,
}

/// Reads a file and what it has in other files of its folder.
pub fn read(path: &Path) -> anyhow::Result<File> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().context("it is a folder")?;
    let dir = Dir::open_ambient_dir(folder, ambient_authority())?;
    let bytes = read_part(&dir, Path::new(name), 0, None)?;
    let mut model = sedge_onnx::read(bytes.clone())?;
    let mut left = MAX_FILE;
    let brought_in = sedge_onnx::inline_external(&mut model, |name, offset, length| {
        // The same bytes may be meant many times over.
        left = left.checked_sub(length as u64).ok_or_else(|| refused(too_large(length as u64)))?;
        read_part(&dir, name, offset, Some(length))
    })?;
    Ok(File { bytes, model, brought_in })
}

/// So many bytes of a file from an offset on, or all that follow.
fn read_part(dir: &Dir, name: &Path, offset: u64, length: Option<usize>) -> std::io::Result<Bytes> {
    // Before it is opened: opening a pipe would wait for its other end.
    let data = dir.metadata(name)?;
    if !data.is_file() {
        return Err(refused("it is not a file".to_owned()));
    }
    let rest = data.len().saturating_sub(offset);
    let length = length.map_or(rest, |length| length as u64);
    if length > rest {
        return Err(refused(format!("the file has {rest} bytes from there on, but {length} are wanted")));
    }
    if length > MAX_FILE {
        return Err(refused(too_large(length)));
    }
    let mut file = dir.open(name)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes.into()),
        false => Err(refused("it became shorter while it was read".to_owned())),
    }
}

fn refused(what: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

fn too_large(length: u64) -> String {
    format!("it has {length} bytes; at most {MAX_FILE} are read of a model")
}
