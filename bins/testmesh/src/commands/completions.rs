//! `testmesh completions`: a script for a shell.

use clap::CommandFactory as _;

use crate::args::{Cli, CompletionsArgs};
use crate::console::Screen;
use crate::exit::Exit;

/// Prints the script.
pub(crate) fn completions(args: &CompletionsArgs, screen: &mut Screen) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "testmesh", &mut script);
    screen.write_bytes(&script);
    Exit::Passed
}
