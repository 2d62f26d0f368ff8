//! Feeds arbitrary text to `testmesh_runner::fuzzing::flow`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| testmesh_runner::fuzzing::flow(text));
