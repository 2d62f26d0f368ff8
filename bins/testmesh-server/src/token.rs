//! `testmesh-server token create`.

use std::io::Write;

use testmesh_api::{NewToken, Scope};

use crate::Failure;

/// Prints a new token once, and the line to store.
pub(crate) fn create(name: &str, scope: Scope) -> Result<(), Failure> {
    let NewToken { token, line } = NewToken::generate(name, scope).map_err(Failure::Setting)?;
    writeln!(
        std::io::stdout(),
        "Token (shown this once): {token}\nLine for the tokens file: {line}\n\nStart the server with --tokens-file FILE, and send\n\
         Authorization: Bearer {token}"
    )
    .map_err(|error| Failure::Failed(format!("cannot print the token: {error}")))
}
