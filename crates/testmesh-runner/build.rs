//! Makes the gRPC interface of `remote` from its description, without an installed `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(feature = "remote")]
    {
        println!("cargo::rerun-if-changed=proto");
        let files = protox::compile(["testmesh/runner/v1/runner.proto"], ["proto"])?;
        tonic_prost_build::configure().build_transport(false).bytes(".").compile_fds(files)?;
    }
    Ok(())
}
