//! Makes the gRPC interface from its description, without an installed `protoc`, and keeps the description for reflection.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["recommendation.proto"], ["proto"])?;
    let folder = std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?;
    std::fs::write(std::path::Path::new(&folder).join("descriptors"), files.encode_to_vec())?;
    tonic_prost_build::configure().build_transport(false).build_client(false).compile_fds(files)?;
    Ok(())
}
