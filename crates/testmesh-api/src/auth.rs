//! Who may call: tokens, scopes, and the names a server without tokens answers to.

pub(crate) mod host;
pub(crate) mod scope;
pub(crate) mod tokens;
