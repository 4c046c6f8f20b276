//! Where a library of ONNX Runtime may lie.

use std::path::{Path, PathBuf};

use crate::nn::EngineSettings;

/// What its files are called; `.1` or `.1.32.0` may follow.
const FILE: &str = if cfg!(target_os = "windows") {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// What to do where none is there.
const ADVICE: &str = "put one there with `cargo xtask setup --engine onnxruntime`, or name the file with \
                      --onnxruntime or ORT_DYLIB_PATH";

/// Files to try, in this order; Err says where none was found.
pub fn candidates(settings: &EngineSettings) -> Result<Vec<PathBuf>, String> {
    if let Some(path) = &settings.onnxruntime {
        return match path.is_file() {
            true => Ok(vec![path.clone()]),
            false => Err(format!("there is no file {}; {ADVICE}", path.display())),
        };
    }
    let found: Vec<_> = settings.folders.iter().flat_map(|folder| in_folder(folder)).collect();
    match (found.is_empty(), settings.folders.is_empty()) {
        (false, _) => Ok(found),
        (true, true) => Err("no library was asked for".to_owned()),
        (true, false) => Err(format!("no library found; {ADVICE}")),
    }
}

/// The library's files in `folder`, the newest version first.
fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(FILE)?;
            let numbers = version.split('.').skip(1).map(|part| part.parse().ok()).collect::<Option<_>>()?;
            (version.is_empty() || version.starts_with('.')).then(|| (numbers, entry.path()))
        })
        .filter(|(_, path)| path.is_file())
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(onnxruntime: Option<PathBuf>, folders: Vec<PathBuf>) -> EngineSettings {
        EngineSettings { onnxruntime, folders, ..EngineSettings::builtin(1) }
    }

    #[test]
    fn folders_are_searched_in_order_and_newer_versions_come_first() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |folder: &Path, tail: &str| {
            let path = folder.join(format!("{FILE}{tail}"));
            std::fs::write(&path, b"").unwrap();
            path
        };
        let plain = put(second.path(), "");
        let newer = put(second.path(), ".1.32.0");
        let older = put(second.path(), ".1.9.0");
        let mine = put(first.path(), ".1");
        put(first.path(), ".debug");
        put(first.path(), "x");
        let folders = vec![first.path().into(), PathBuf::from("/nowhere"), second.path().into()];
        assert_eq!(
            candidates(&settings(None, folders.clone())).unwrap(),
            [mine, newer, older, plain.clone()]
        );
        assert_eq!(candidates(&settings(Some(plain.clone()), folders)).unwrap(), [plain]);
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let missing = |onnxruntime, folders| candidates(&settings(onnxruntime, folders)).unwrap_err();
        let named = missing(Some("/nowhere/libonnxruntime.so".into()), vec![]);
        assert!(named.starts_with("there is no file /nowhere/libonnxruntime.so; put one there"), "{named}");
        let searched = missing(None, vec!["/nowhere".into()]);
        assert!(
            searched.starts_with("no library found; put one there with `cargo xtask setup"),
            "{searched}"
        );
        assert_eq!(missing(None, vec![]), "no library was asked for");
    }
}
