//! Generates the gRPC code of the node protocol, with a protobuf compiler written in Rust.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["node.proto", "federation.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".sedge.federation.v1").compile_fds(files)?;
    Ok(())
}
