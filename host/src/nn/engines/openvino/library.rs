//! Which library of OpenVINO a node computes with: from folders to one that is loaded, or to the reason why there
//! is none. [`OpenVino::open`](super::OpenVino::open) calls it when the node starts.

use std::path::{Path, PathBuf};

use openvino::{Core, DeviceType, PropertyKey, RwPropertyKey};

use super::NAME;
use crate::nn::engines::{elf, guard::guard};

/// What its file is called; on Linux and macOS a number goes with it, as in `libopenvino_c.so.2641`.
const FILE: &str = "libopenvino_c.";

/// What to do where none is there.
const ADVICE: &str = "put one there with `cargo xtask setup --engine openvino`";

/// Loads the first library in `folders` that can be, for this process and for good, and gives its version, e.g.
/// `2026.4.1`. Err says why there is none, and what to do.
pub fn load(folders: &[PathBuf]) -> Result<String, String> {
    if folders.is_empty() {
        return Err("no library was asked for".to_owned());
    }
    let mut refused = Vec::new();
    for path in folders.iter().flat_map(|folder| candidates(folder)) {
        match probe(&path).and_then(|()| open(&path)) {
            Ok(version) => return Ok(version),
            Err(why) => refused.push(format!("{}: {why}", path.display())),
        }
    }
    match refused.is_empty() {
        true => Err(format!("no library found; {ADVICE}")),
        false => Err(refused.join("; ")),
    }
}

/// Files of the library in `folder`, and in the folder of its name below it: it has many files.
fn candidates(folder: &Path) -> Vec<PathBuf> {
    let in_folder = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<_> =
            entries.map(|entry| entry.path()).filter(|path| is_library(path) && path.is_file()).collect();
        // The newest number first.
        found.sort_by(|left, right| right.cmp(left));
        found
    };
    [in_folder(&folder.join(NAME)), in_folder(folder)].concat()
}

fn is_library(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let numbers = |text: &str| text.split('.').all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    match name.strip_prefix(FILE) {
        Some("so" | "dylib") => true,
        Some(rest) => rest.strip_prefix("so.").or_else(|| rest.strip_suffix(".dylib")).is_some_and(numbers),
        None => name == "openvino_c.dll",
    }
}

/// Whether the file is the library; asked before the bindings do, which would hold on to one that is none.
#[allow(unsafe_code)]
fn probe(path: &Path) -> Result<(), String> {
    elf::check(path)?;
    // SAFETY: loading a library runs what its author lets run then. The file lies in a folder that only an
    // administrator or the node's operator writes to.
    let library = unsafe { libloading::Library::new(path) };
    let library = library.map_err(|error| format!("it cannot be loaded: {error}"))?;
    // SAFETY: the symbol is looked for, and never called or read.
    let symbol = unsafe { library.get::<*const ()>(b"ov_core_create") };
    symbol.map(|_| ()).map_err(|_| "it is no library of OpenVINO".to_owned())
}

/// Has the bindings load it, and looks at what it would compute f32 in.
fn open(path: &Path) -> Result<String, String> {
    let opened = guard(NAME, "loading its library", || {
        openvino_sys::library::load_from(path)?;
        let core = Core::new().map_err(|error| error.to_string())?;
        let key = PropertyKey::Rw(RwPropertyKey::HintInferencePrecision);
        let precision = core.get_property(&DeviceType::CPU, &key).map_err(|error| error.to_string())?;
        let version = openvino::version().parts().take(3).collect::<Vec<_>>().join(".");
        Ok::<_, String>((version, precision))
    });
    let (version, precision) = opened.map_err(|error| error.message)??;
    if precision != "f32" {
        return Err(format!(
            "it is set to compute f32 as {precision} on this processor: set INFERENCE_PRECISION_HINT of the plugin \
             CPU to f32 in a plugins.xml beside it, as `cargo xtask setup --engine openvino` does"
        ));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_told_from_what_lies_beside_it() {
        for name in
            ["libopenvino_c.so", "libopenvino_c.so.2641", "libopenvino_c.2641.dylib", "openvino_c.dll"]
        {
            assert!(is_library(Path::new(name)), "{name}");
        }
        for name in ["libopenvino_c.so.2641.sha256", "libopenvino.so.2641", "plugins.xml", "libopenvino_c.a"]
        {
            assert!(!is_library(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_library_that_is_none_is_a_reason() {
        assert_eq!(load(&[]).unwrap_err(), "no library was asked for");

        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned()];
        assert!(load(&folders).unwrap_err().ends_with("`cargo xtask setup --engine openvino`"));

        std::fs::write(folder.path().join("libopenvino_c.so"), "text").unwrap();
        let why = load(&folders).unwrap_err();
        assert!(cfg!(not(target_os = "linux")) || why.ends_with("it is no shared library"), "{why}");
    }
}
