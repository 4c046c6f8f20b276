//! What a WebAssembly component exports and imports, without running it.
//!
//! Bytes flow in; out flows a [`ComponentSummary`], or a [`ComponentError`] that says precisely why no node
//! could run them. Pure. The registry asks this of every plugin that is pushed, and `sedge plugin push`
//! asks it before it uploads.
//!
//! Roles are told by the names and versions of exported interfaces and the names of their functions. That
//! the functions' types fit is checked where they are bound, when a node instantiates the component.

use sedge_api::artifact::MAX_PLUGIN_BYTES;
use sedge_api::resources::Role;
use thiserror::Error;
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::TypesRef;
use wasmparser::{BinaryReaderError, Parser, Payload, Validator, WasmFeatures};

/// The version of `wit/worker.wit`.
const PACKAGE_VERSION: &str = "0.1.0";
/// The version of `wasi:nn` that the worlds include.
const NN_VERSION: &str = "0.2.0-rc-2024-10-28";
/// The packages of WASI 0.2 that nodes link, at any 0.2.x.
const WASI: [&str; 6] =
    ["wasi:cli/", "wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:filesystem/", "wasi:sockets/"];

/// What a component is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSummary {
    /// Roles that it can play, at least one.
    pub roles: Vec<Role>,
    /// Interfaces that it imports, sorted.
    pub imports: Vec<String>,
    /// What it exports, sorted.
    pub exports: Vec<String>,
}

/// Why no node could run it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ComponentError {
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// Over the limit.
    #[error("it has {0} bytes; a component may have {MAX_PLUGIN_BYTES}")]
    TooLarge(u64),
    /// Something else altogether.
    #[error("this is not WebAssembly: it does not begin with `\\0asm`")]
    NotWasm,
    /// Native or precompiled code.
    #[error(
        "this is an ELF file, native or precompiled code: push the WebAssembly component itself, nodes compile it"
    )]
    Precompiled,
    /// The text format.
    #[error("this is WebAssembly in its text format: push the binary (`wasm-tools parse` makes it)")]
    Text,
    /// A module.
    #[error("this is a core WebAssembly module, not a component: build with --target wasm32-wasip2")]
    CoreModule,
    /// Cut short.
    #[error("it is truncated: it ends after {bytes} bytes, inside what begins before byte {offset}")]
    Truncated {
        /// Where more bytes were expected.
        offset: usize,
        /// Its size.
        bytes: usize,
    },
    /// Not valid.
    #[error("it is not a valid component: {why} (at byte {offset})")]
    Invalid {
        /// Where.
        offset: usize,
        /// What.
        why: String,
    },
    /// Our interface, in another version.
    #[error(
        "it exports `{found}`, but this release of Sedge speaks version {PACKAGE_VERSION}: build it against that"
    )]
    Version {
        /// What it exports.
        found: String,
    },
    /// Nothing that a worker could call.
    #[error("it plays no role: it exports {}; a worker exports one of {}", listed(.exports), role_interfaces())]
    NoRole {
        /// What it exports.
        exports: Vec<String>,
    },
    /// A role's interface lacks a function.
    #[error("its `{interface}` lacks the function `{function}`")]
    Function {
        /// The role's interface.
        interface: String,
        /// What is missing.
        function: &'static str,
    },
    /// Something that it would wait for in vain.
    #[error("it imports `{import}`, which no node offers to {}", words(.roles))]
    Import {
        /// What it imports.
        import: String,
        /// The roles it could play.
        roles: Vec<Role>,
    },
}

/// Say what a component is. Takes time and memory in proportion to its size (it validates all code).
pub fn inspect(bytes: &[u8]) -> Result<ComponentSummary, ComponentError> {
    check_beginning(bytes)?;
    let invalid = |error: BinaryReaderError| explain(&error, bytes.len());
    let types = Validator::new_with_features(features()).validate_all(bytes).map_err(invalid)?;
    let (mut imports, mut exports) = outer_names(bytes).map_err(invalid)?;
    imports.sort_unstable();
    exports.sort_unstable();

    let roles = roles(&exports, types.as_ref())?;
    if roles.is_empty() {
        return Err(ComponentError::NoRole { exports });
    }
    if let Some(import) = imports.iter().find(|import| !is_offered(import, &roles)) {
        return Err(ComponentError::Import { import: import.clone(), roles });
    }
    Ok(ComponentSummary { roles, imports, exports })
}

fn check_beginning(bytes: &[u8]) -> Result<(), ComponentError> {
    if bytes.is_empty() {
        return Err(ComponentError::Empty);
    }
    if bytes.len() as u64 > MAX_PLUGIN_BYTES {
        return Err(ComponentError::TooLarge(bytes.len() as u64));
    }
    if bytes.starts_with(b"\x7fELF") {
        return Err(ComponentError::Precompiled);
    }
    if bytes.trim_ascii_start().starts_with(b"(") {
        return Err(ComponentError::Text);
    }
    let magic = b"\0asm";
    if !bytes.starts_with(&magic[..magic.len().min(bytes.len())]) {
        return Err(ComponentError::NotWasm);
    }
    if bytes.len() < 8 {
        return Err(ComponentError::Truncated { offset: bytes.len(), bytes: bytes.len() });
    }
    // Two bytes of version, then two of layer: 0 is a module, 1 a component.
    if bytes[6..8] == [0, 0] {
        return Err(ComponentError::CoreModule);
    }
    Ok(())
}

/// What wasmtime 48 enables by default, in the build that nodes have: no garbage-collected types, no
/// exceptions, no threads, no component-model async.
fn features() -> WasmFeatures {
    (WasmFeatures::WASM3 | WasmFeatures::COMPONENT_MODEL)
        .difference(WasmFeatures::GC_TYPES | WasmFeatures::EXCEPTIONS | WasmFeatures::THREADS)
}

fn explain(error: &BinaryReaderError, bytes: usize) -> ComponentError {
    if error.message().starts_with("unexpected end") {
        ComponentError::Truncated { offset: error.offset(), bytes }
    } else {
        ComponentError::Invalid { offset: error.offset(), why: error.message().to_owned() }
    }
}

/// Names of what the outermost component imports and exports.
fn outer_names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), BinaryReaderError> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn roles(exports: &[String], types: TypesRef<'_>) -> Result<Vec<Role>, ComponentError> {
    let mut roles = Vec::new();
    for role in Role::ALL {
        let wanted = format!("{}@{PACKAGE_VERSION}", role.interface());
        if exports.contains(&wanted) {
            if let Some(function) = functions(role).iter().find(|f| !has_function(types, &wanted, f)) {
                return Err(ComponentError::Function { interface: wanted, function });
            }
            roles.push(role);
        } else if let Some(found) = exports.iter().find(|e| e.split('@').next() == Some(role.interface())) {
            return Err(ComponentError::Version { found: found.clone() });
        }
    }
    Ok(roles)
}

/// The functions of a role's interface, as components name them.
pub(super) fn functions(role: Role) -> &'static [&'static str] {
    match role {
        Role::Trainer => &["train"],
        Role::Evaluator => &["evaluate"],
        Role::Inferencer => &["prepare", "infer"],
        Role::Miner => &["hard"],
        Role::Aggregator => &["[constructor]aggregate", "[method]aggregate.add", "[static]aggregate.finish"],
    }
}

fn has_function(types: TypesRef<'_>, interface: &str, function: &str) -> bool {
    let Some(item) = types.component_item_for_export(interface) else { return false };
    let ComponentEntityType::Instance(instance) = item.ty else { return false };
    types[instance].exports.get(function).is_some_and(|item| matches!(item.ty, ComponentEntityType::Func(_)))
}

/// Whether a worker of one of `roles` finds this import: its world names it, or it is WASI 0.2.
fn is_offered(import: &str, roles: &[Role]) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    if let Some(interface) = interface.strip_prefix("sedge:worker/") {
        return version == PACKAGE_VERSION
            && roles.iter().any(|role| our_imports(*role).contains(&interface));
    }
    if let Some(interface) = interface.strip_prefix("wasi:nn/") {
        return version == NN_VERSION && ["tensor", "graph", "inference", "errors"].contains(&interface);
    }
    WASI.iter().any(|package| interface.starts_with(package)) && is_wasi_0_2(version)
}

/// The interfaces of our package that a role's world in `wit/worker.wit` imports.
pub(super) fn our_imports(role: Role) -> &'static [&'static str] {
    match role {
        Role::Trainer | Role::Evaluator => &["job", "dataset", "model"],
        Role::Inferencer | Role::Aggregator => &["job", "model"],
        Role::Miner => &["job"],
    }
}

fn is_wasi_0_2(version: &str) -> bool {
    version.strip_prefix("0.2.").is_some_and(|patch| {
        !patch.is_empty() && patch.len() <= 4 && patch.bytes().all(|b| b.is_ascii_digit())
    })
}

fn role_interfaces() -> String {
    let named: Vec<String> =
        Role::ALL.iter().map(|role| format!("`{}@{PACKAGE_VERSION}` ({role})", role.interface())).collect();
    named.join(", ")
}

fn words(roles: &[Role]) -> String {
    let words: Vec<String> = roles.iter().map(|role| format!("a {role}")).collect();
    words.join(" or ")
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 10;
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let mut text = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
#[path = "component_tests.rs"]
mod tests;
