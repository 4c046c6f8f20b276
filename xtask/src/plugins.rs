//! `cargo xtask plugins`: builds the workspace `plugins/` and checks each component's imports. Demo, test and bench
//! take the plugins from here.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use wasmparser::{Encoding, Parser, Payload};

use crate::setup::TARGET;
use crate::shell;

/// A plugin that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltPlugin {
    /// Its name, e.g. `fedavg`.
    pub name: String,
    /// Its version, e.g. `0.1.0`.
    pub version: String,
    /// The world that it is built for, e.g. `aggregator`.
    pub role: String,
    /// The component.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

impl BuiltPlugin {
    /// How jobs name it: `fedavg:0.1.0`.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.version)
    }
}

/// Builds all plugins in release, and checks that each imports only what its world names.
pub fn build() -> Result<Vec<BuiltPlugin>> {
    shell::say("Building", "plugins");
    shell::run(cargo().args(["build", "--quiet", "--release", "--locked"]))?;
    let workspace = Workspace::read()?;
    let outputs = workspace.outputs().join("release");
    let mut plugins = Vec::new();
    for package in workspace.packages {
        let Some(Sedge { role }) = package.metadata.and_then(|metadata| metadata.sedge) else { continue };
        let path = outputs.join(package.name.replace('-', "_")).with_extension("wasm");
        let component = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        check(&component, &role).with_context(|| format!("plugin {} ({})", package.name, path.display()))?;
        let bytes = component.len() as u64;
        plugins.push(BuiltPlugin { name: package.name, version: package.version, role, path, bytes });
    }
    Ok(plugins)
}

/// Removes what was built for the target.
pub fn remove_outputs() -> Result<()> {
    let outputs = Workspace::read()?.outputs();
    match fs::remove_dir_all(&outputs) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", outputs.display()))
        }
        _ => Ok(()),
    }
}

/// cargo in the plugins' workspace, where its configuration names the target.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(shell::root().join("plugins"));
    command
}

/// What `cargo metadata` says.
#[derive(Debug, Deserialize)]
struct Workspace {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    sedge: Option<Sedge>,
}

/// `[package.metadata.sedge]`.
#[derive(Debug, Deserialize)]
struct Sedge {
    role: String,
}

impl Workspace {
    fn read() -> Result<Self> {
        let text = shell::capture(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        serde_json::from_str(&text).context("cannot read what cargo metadata printed")
    }

    fn outputs(&self) -> PathBuf {
        self.target_directory.join(TARGET)
    }
}

/// Checks that a component exports its role and imports only what the role's world in `wit/worker.wit` names, and
/// what Rust's std brings.
fn check(component: &[u8], role: &str) -> Result<()> {
    let (export, capabilities): (&str, &[&str]) = match role {
        "trainer" => ("sedge:worker/training", &["job", "dataset", "model"]),
        "evaluator" => ("sedge:worker/evaluation", &["job", "dataset", "model"]),
        "inferencer" => ("sedge:worker/inferring", &["job", "model"]),
        "miner" => ("sedge:worker/mining", &["job"]),
        "aggregator" => ("sedge:worker/aggregation", &["job", "model"]),
        other => bail!("`{other}` in its Cargo.toml is not a role"),
    };
    let interfaces = Interfaces::of(component)?;
    if !interfaces.exports.contains(export) {
        bail!("does not export {export}, as the role {role} must");
    }
    for import in &interfaces.imports {
        let (package, interface) = import.split_once('/').unwrap_or((import, ""));
        let is_named = match package {
            "sedge:worker" => capabilities.contains(&interface),
            "wasi:nn" => true,
            "wasi:cli" | "wasi:io" | "wasi:clocks" | "wasi:filesystem" | "wasi:random" => true,
            _ => false,
        };
        if !is_named {
            bail!("imports {import}, which the world {role} does not name");
        }
    }
    Ok(())
}

/// The interfaces that a component imports and exports, without their versions.
#[derive(Debug, Default)]
struct Interfaces {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
}

impl Interfaces {
    fn of(component: &[u8]) -> Result<Self> {
        let mut found = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(component) {
            match payload.context("is not a WebAssembly component")? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    bail!("is a core module, not a component");
                }
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        found.imports.insert(unversioned(import?.name.name));
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        found.exports.insert(unversioned(export?.name.name));
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

fn unversioned(name: &str) -> String {
    name.split('@').next().unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with nothing but names of instances: what is imported and what is exported.
    fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
        let name = |name: &&str| [&[0, name.len() as u8], name.as_bytes()].concat();
        let section = |id: u8, items: Vec<Vec<u8>>| {
            let body = [vec![items.len() as u8], items.concat()].concat();
            assert!(body.len() < 128, "its size is written in one byte");
            [vec![id, body.len() as u8], body].concat()
        };
        let imports = imports.iter().map(|import| [name(import), vec![5, 0]].concat()).collect();
        let exports = exports.iter().map(|export| [name(export), vec![5, 0, 0]].concat()).collect();
        [b"\0asm\x0d\0\x01\0".to_vec(), section(10, imports), section(11, exports)].concat()
    }

    fn refusal(component: &[u8], role: &str) -> String {
        check(component, role).unwrap_err().to_string()
    }

    #[test]
    fn a_component_that_keeps_to_its_world_is_accepted() {
        let imports = ["sedge:worker/job@0.1.0", "wasi:nn/graph@0.2.0-rc-2024-10-28", "wasi:cli/exit@0.2.6"];
        check(&component(&imports, &["sedge:worker/training@0.1.0"]), "trainer").unwrap();
    }

    #[test]
    fn an_import_beyond_the_world_is_named() {
        let miner = component(&["sedge:worker/dataset@0.1.0"], &["sedge:worker/mining@0.1.0"]);
        assert_eq!(
            refusal(&miner, "miner"),
            "imports sedge:worker/dataset, which the world miner does not name"
        );
        let caller = component(&["wasi:sockets/tcp@0.2.6"], &["sedge:worker/training@0.1.0"]);
        assert_eq!(
            refusal(&caller, "trainer"),
            "imports wasi:sockets/tcp, which the world trainer does not name"
        );
    }

    #[test]
    fn a_component_of_another_role_is_refused() {
        let trainer = component(&[], &["sedge:worker/training@0.1.0"]);
        assert_eq!(
            refusal(&trainer, "evaluator"),
            "does not export sedge:worker/evaluation, as the role evaluator must"
        );
    }

    #[test]
    fn a_core_module_and_a_torn_file_are_refused() {
        assert_eq!(refusal(b"\0asm\x01\0\0\0", "trainer"), "is a core module, not a component");
        let mut torn = component(&[], &["sedge:worker/training@0.1.0"]);
        torn.truncate(torn.len() - 4);
        assert_eq!(refusal(&torn, "trainer"), "is not a WebAssembly component");
    }
}
