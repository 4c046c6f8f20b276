//! Generates the gRPC code of the protocols, with a protobuf compiler written in Rust.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["node.proto", "federation.proto", "open_inference.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".sedge.federation.v1").bytes(".inference").compile_fds(files)?;
    Ok(())
}
