//! The names a step sees, nearest first: loop variables, captured outputs, run variables, flow `env`, `env_file`, the
//! environment, the operating system's environment.
// SKELETON: owner E.

use crate::builtins::Builtins;
use crate::template::Lookup;
use crate::value::Value;

/// The names at one place of a run.
#[derive(Debug)]
pub(crate) struct Scope {
    // E
}

impl Lookup for Scope {
    fn get(&self, name: &str) -> Option<Value> {
        let _ = name;
        unimplemented!()
    }
    fn names(&self) -> Vec<String> {
        unimplemented!()
    }
    fn builtins(&self) -> &Builtins {
        unimplemented!()
    }
}
