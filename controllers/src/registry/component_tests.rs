use super::*;
use crate::registry::tests::components::{exporting, written};

/// A component whose export of that name is an instance with those functions.
fn with_export(name: &str, functions: &[&str], imports: &[&str]) -> Vec<u8> {
    let imports: String = imports.iter().map(|name| format!(r#"(import "{name}" (instance))"#)).collect();
    let functions: String = functions.iter().map(|name| format!(r#"(export "{name}" (func $f))"#)).collect();
    written(&format!(
        r#"(component {imports}
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $e {functions})
            (export "{name}" (instance $e)))"#
    ))
}

fn refusal(bytes: &[u8]) -> String {
    inspect(bytes).unwrap_err().to_string()
}

#[test]
fn every_world_is_a_role() {
    for role in Role::ALL {
        let summary = inspect(&exporting(role)).unwrap();
        assert_eq!(summary.roles, [role]);
        assert_eq!(summary.exports, [format!("{}@{PACKAGE_VERSION}", role.interface())]);
        assert!(summary.imports.contains(&format!("sedge:worker/job@{PACKAGE_VERSION}")), "{summary:?}");
    }
}

#[test]
fn worlds_and_versions_are_those_of_the_contract() {
    let wit = include_str!("../../../wit/worker.wit");
    assert!(wit.contains(&format!("package sedge:worker@{PACKAGE_VERSION};")));
    assert!(wit.contains(&format!("include wasi:nn/ml@{NN_VERSION};")));
    for role in Role::ALL {
        let (_, world) = wit.split_once(&format!("world {role} {{")).unwrap();
        let (world, _) = world.split_once('}').unwrap();
        let named = |what: &str| -> Vec<&str> {
            world.lines().filter_map(|l| l.trim().strip_prefix(what)?.strip_suffix(';')).collect()
        };
        assert_eq!(named("import "), our_imports(role), "{role}");
        let export = role.interface().trim_start_matches("sedge:worker/");
        assert_eq!(named("export "), [export]);
        let (_, interface) = wit.split_once(&format!("interface {export} {{")).unwrap();
        for function in functions(role) {
            // `[method]aggregate.add` is written `add`, `[constructor]aggregate` is `constructor`.
            let name = function.rsplit(['.', ']']).next().unwrap();
            let written = if function.starts_with("[constructor]") { "constructor(" } else { name };
            assert!(interface.contains(written), "{role}: {function}");
        }
    }
}

#[test]
fn what_std_brings_may_be_imported() {
    let wasi = ["wasi:cli/environment@0.2.6", "wasi:io/streams@0.2.0", "wasi:clocks/wall-clock@0.2.12"];
    let summary = inspect(&with_export("sedge:worker/training@0.1.0", &["train"], &wasi)).unwrap();
    assert_eq!(summary.imports.len(), 3);
}

#[test]
fn a_component_may_play_several_roles() {
    let bytes = written(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $t (export "train" (func $f)))
            (instance $e (export "evaluate" (func $f)))
            (export "sedge:worker/training@0.1.0" (instance $t))
            (export "sedge:worker/evaluation@0.1.0" (instance $e)))"#,
    );
    assert_eq!(inspect(&bytes).unwrap().roles, [Role::Trainer, Role::Evaluator]);
}

#[test]
fn a_core_module_is_told_how_to_become_a_component() {
    let refused = refusal(&written("(module)"));
    assert_eq!(
        refused,
        "this is a core WebAssembly module, not a component: build with --target wasm32-wasip2"
    );
}

#[test]
fn other_files_are_named_for_what_they_are() {
    for (bytes, told) in [
        (&b""[..], "it is empty"),
        (b"\x7fELF\x02\x01\x01\0cwasm", "nodes compile it"),
        (b"  (component)", "text format"),
        (b"#!/bin/sh\n", "not WebAssembly"),
        (b"\0as", "truncated: it ends after 3 bytes"),
    ] {
        let refused = refusal(bytes);
        assert!(refused.contains(told), "{told}: {refused}");
    }
}

#[test]
fn a_truncated_component_is_told_where_it_ends() {
    let whole = exporting(Role::Trainer);
    let half = &whole[..whole.len() / 2];
    match inspect(half).unwrap_err() {
        ComponentError::Truncated { offset, bytes } => {
            assert_eq!(bytes, half.len());
            assert!(offset <= bytes, "{offset}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn no_piece_of_a_component_panics_or_passes_for_another() {
    let whole = exporting(Role::Aggregator);
    let summary = inspect(&whole).unwrap();
    for end in 0..whole.len() {
        // Its last section holds names for debugging: without that, it is the same component.
        if let Ok(piece) = inspect(&whole[..end]) {
            assert_eq!(piece, summary, "{end}");
        }
    }
}

#[test]
fn a_component_without_a_role_is_told_what_roles_are() {
    let refused = refusal(&with_export("wasi:cli/run@0.2.0", &["run"], &[]));
    assert!(refused.contains("it exports `wasi:cli/run@0.2.0`"), "{refused}");
    assert!(refused.contains("`sedge:worker/training@0.1.0` (trainer)"), "{refused}");
    assert!(refusal(&written("(component)")).contains("it exports nothing"));
}

#[test]
fn another_version_of_the_contract_is_named() {
    let refused = refusal(&with_export("sedge:worker/training@0.2.0", &["train"], &[]));
    assert!(refused.contains("exports `sedge:worker/training@0.2.0`"), "{refused}");
    assert!(refused.contains("speaks version 0.1.0"), "{refused}");
}

#[test]
fn a_role_needs_its_functions() {
    let refused = refusal(&with_export("sedge:worker/inferring@0.1.0", &["infer"], &[]));
    assert_eq!(refused, "its `sedge:worker/inferring@0.1.0` lacks the function `prepare`");
}

#[test]
fn imports_that_no_node_offers_are_named() {
    let import = |role: &str, function: &str, import: &str| {
        refusal(&with_export(&format!("sedge:worker/{role}@0.1.0"), &[function], &[import]))
    };
    for name in [
        "wasi:http/types@0.2.0",
        "wasi:cli/environment@0.3.0",
        "wasi:cli/environment@0.2.0-rc-2023-11-10",
        "wasi:nn/graph@0.2.0-rc-2024-08-19",
        "sedge:worker/job@0.0.9",
        "acme:sensors/camera@1.0.0",
    ] {
        let refused = import("training", "train", name);
        assert!(
            refused.contains(&format!("it imports `{name}`, which no node offers to a trainer")),
            "{refused}"
        );
    }
    assert!(import("mining", "hard", "sedge:worker/dataset@0.1.0").contains("no node offers to a miner"));
}

#[test]
fn what_the_engine_has_switched_off_is_refused() {
    let refused =
        refusal(&written(r#"(component (core module (func (export "f") (result externref) unreachable)))"#));
    assert!(refused.contains("not a valid component"), "{refused}");
}
