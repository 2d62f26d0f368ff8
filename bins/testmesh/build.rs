//! Links the command line for a fixed address where that is known to work.
//!
//! An executable that may be loaded anywhere has some 40,000 addresses corrected before its first instruction: on Linux
//! that is a third of the time that `testmesh run` needs for one request, and half of its page faults. Heap, stack and
//! libraries stay where the system scatters them; the server, which lives long and listens, stays scattered as a whole.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| {
        #[allow(clippy::disallowed_methods, reason = "Cargo tells a build script of its target by the environment")]
        std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default()
    };
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
