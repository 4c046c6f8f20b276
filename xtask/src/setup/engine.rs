//! Puts a tensor engine's library where nodes look for it.
//!
//! The libraries come out of packages on PyPI, which are signed for by the index and built for every system:
//! pip finds the right one. `engines` below Sedge's folder of data is where they go; beside the library lies the
//! sha256 of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::pypi::{self, files, hex, put};
use crate::shell;

/// An engine that is loaded at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// ONNX Runtime, the fast one
    #[value(name = "onnxruntime")]
    OnnxRuntime,
    /// OpenVINO, for builds with the feature of that name
    #[value(name = "openvino")]
    OpenVino,
}

impl Engine {
    /// What pip is asked for: the oldest version that nodes take, or newer.
    fn requirement(self) -> &'static str {
        match self {
            Self::OnnxRuntime => "onnxruntime>=1.24",
            Self::OpenVino => "openvino>=2026.0",
        }
    }

    /// The folder in the package that its libraries lie in.
    fn folder(self) -> &'static str {
        match self {
            Self::OnnxRuntime => "onnxruntime/capi",
            Self::OpenVino => "openvino/libs",
        }
    }

    /// Whether a file of that folder is the library.
    fn is_library(self, name: &str) -> bool {
        match self {
            Self::OnnxRuntime => {
                name.starts_with("libonnxruntime.") && !name.ends_with(".sha256") || name == "onnxruntime.dll"
            }
            Self::OpenVino => name.starts_with("libopenvino_c.") && !name.ends_with(".sha256"),
        }
    }
}

/// Whether a node needs that file of OpenVINO's: the library and its parts that read ONNX files and compute on
/// the processor. What it has for other devices and formats is as large again.
fn is_part_of_openvino(name: &str) -> bool {
    let other =
        name.ends_with("_plugin.so") || name.ends_with("_plugin.dylib") || name.contains("_frontend.");
    let library = name.starts_with("lib") && (name.contains(".so") || name.ends_with(".dylib"));
    library && (!other || name.contains("_cpu_plugin.") || name.contains("_onnx_frontend."))
}

/// The file that OpenVINO reads its settings from: it computes f32 as f32, also on processors that have bf16.
fn plugins(cpu: &str) -> String {
    format!(
        r#"<ie>
    <plugins>
        <plugin name="CPU" location="{cpu}">
            <properties>
                <property key="INFERENCE_PRECISION_HINT" value="f32"/>
            </properties>
        </plugin>
    </plugins>
</ie>
"#
    )
}

/// Have the engine's library in the folder of engines; gives where it lies.
pub fn install(engine: Engine) -> Result<PathBuf> {
    let folder = match engine {
        Engine::OnnxRuntime => engines_dir()?,
        // A library of many files.
        Engine::OpenVino => engines_dir()?.join("openvino"),
    };
    if let Some(present) = library(engine, &folder) {
        return Ok(present);
    }
    let work = tempfile::tempdir().context("cannot make a temporary folder")?;
    let unpacked = pypi::unpack(engine.requirement(), work.path())?;
    let source = library(engine, &unpacked.join(engine.folder()))
        .with_context(|| format!("{} has no library in {}", engine.requirement(), engine.folder()))?;

    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let name = source.file_name().context("a library has a name")?;
    let target = folder.join(name);
    let bytes = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let digest = hex(&Sha256::digest(&bytes));
    let name = name.to_string_lossy();
    put(&folder.join(format!("{name}.sha256")), format!("{digest}  {name}\n").as_bytes())?;
    if engine == Engine::OpenVino {
        put_parts(&unpacked.join(engine.folder()), &source, &folder)?;
    }
    put(&target, &bytes)?;
    shell::say("Installed", format!("{} (sha256 {digest})", target.display()));
    Ok(target)
}

/// What OpenVINO's library needs beside it, from the folder `unpacked` into `folder`.
fn put_parts(unpacked: &Path, library: &Path, folder: &Path) -> Result<()> {
    let mut cpu = None;
    for path in files(unpacked).into_iter().filter(|path| path != library) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if is_part_of_openvino(&name) {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            put(&folder.join(&name), &bytes)?;
            cpu = name.contains("_cpu_plugin.").then_some(name).or(cpu);
        }
    }
    let cpu = cpu.context("this package of OpenVINO does not compute on the processor")?;
    put(&folder.join("plugins.xml"), plugins(&cpu).as_bytes())
}

/// Where nodes look for engines' libraries, as `sedge` has it.
fn engines_dir() -> Result<PathBuf> {
    Ok(shell::data_dir()?.join("engines"))
}

fn library(engine: Engine, folder: &Path) -> Option<PathBuf> {
    files(folder)
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| engine.is_library(&name.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_told_from_what_lies_beside_it() {
        let is = |name| Engine::OnnxRuntime.is_library(name);
        assert!(is("libonnxruntime.so.1.32.0") && is("libonnxruntime.1.32.0.dylib") && is("onnxruntime.dll"));
        assert!(!is("libonnxruntime_providers_shared.so") && !is("libonnxruntime.so.1.32.0.sha256"));
    }

    #[test]
    fn of_openvino_what_computes_onnx_files_on_the_processor_is_put() {
        let is = |name| Engine::OpenVino.is_library(name);
        assert!(
            is("libopenvino_c.so.2641") && !is("libopenvino_c.so.2641.sha256") && !is("libopenvino.so.2641")
        );
        for name in [
            "libopenvino.so.2641",
            "libopenvino_intel_cpu_plugin.so",
            "libopenvino_onnx_frontend.so.2641",
            "libtbb.so.12",
        ] {
            assert!(is_part_of_openvino(name), "{name}");
        }
        for name in
            ["cache.json", "tbb.pc", "libopenvino_intel_gpu_plugin.so", "libopenvino_paddle_frontend.so.2641"]
        {
            assert!(!is_part_of_openvino(name), "{name}");
        }
    }
}
