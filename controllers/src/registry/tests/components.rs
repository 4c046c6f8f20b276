//! Components for tests, written by hand.

use sedge_api::resources::Role;

use crate::registry::component::{functions, our_imports};

/// A component that looks like one of the role's world in `wit/`: right in its names, with functions that
/// trap.
pub(crate) fn exporting(role: Role) -> Vec<u8> {
    let imports: String = our_imports(role)
        .iter()
        .map(|name| format!(r#"(import "sedge:worker/{name}@0.1.0" (instance))"#))
        .chain([r#"(import "wasi:nn/tensor@0.2.0-rc-2024-10-28" (instance))"#.to_owned()])
        .collect();
    let export = format!("{}@0.1.0", role.interface());
    if role == Role::Aggregator {
        return written(&format!(r#"(component {imports} {AGGREGATE} (export "{export}" (instance $e)))"#));
    }
    let functions: String =
        functions(role).iter().map(|name| format!(r#"(export "{name}" (func $f))"#)).collect();
    written(&format!(
        r#"(component {imports}
            (core module $m (func (export "f") unreachable))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $e {functions})
            (export "{export}" (instance $e)))"#
    ))
}

/// Names of a resource's functions are valid only where the resource is exported beside them.
const AGGREGATE: &str = r#"
    (type $r (resource (rep i32)))
    (core module $m
        (func (export "c") (result i32) unreachable)
        (func (export "a") (param i32) unreachable)
        (func (export "s") unreachable))
    (core instance $i (instantiate $m))
    (func $c (result (own $r)) (canon lift (core func $i "c")))
    (func $a (param "self" (borrow $r)) (canon lift (core func $i "a")))
    (func $s (canon lift (core func $i "s")))
    (component $shim
        (import "r" (type $r (sub resource)))
        (import "c" (func $c (result (own $r))))
        (import "a" (func $a (param "self" (borrow $r))))
        (import "s" (func $s))
        (export $aggregate "aggregate" (type $r))
        (export "[constructor]aggregate" (func $c) (func (result (own $aggregate))))
        (export "[method]aggregate.add" (func $a) (func (param "self" (borrow $aggregate))))
        (export "[static]aggregate.finish" (func $s) (func)))
    (instance $e (instantiate $shim
        (with "r" (type $r)) (with "c" (func $c)) (with "a" (func $a)) (with "s" (func $s))))"#;

/// WebAssembly out of its text format.
pub(crate) fn written(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}
