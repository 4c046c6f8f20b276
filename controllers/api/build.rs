//! Generates the gRPC code of the protocols, with a protobuf compiler written in Rust.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["node.proto", "federation.proto", "open_inference.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".sedge.federation.v1")
        .bytes(".inference")
        // Keys appear in no log; the crate writes these without them.
        .skip_debug([".sedge.node.v1.S3", ".sedge.node.v1.Http"])
        .compile_fds(files)?;
    Ok(())
}
