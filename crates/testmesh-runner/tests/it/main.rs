//! The runner from outside: what flow files come to.

mod corpus;
mod diagnostics;
mod robustness;
