//! The commands: one file each, each gives the process's exit code.

mod actions;
mod completions;
mod fmt;
mod import;
mod init;
mod run;
mod schema;
mod validate;

use crate::args::{Cli, Command};
use crate::console::Screen;
use crate::exit::Exit;

/// Does what the arguments say.
pub(crate) fn dispatch(cli: Cli) -> Exit {
    let mut screen = Screen::stdout(cli.color);
    let result = match cli.command {
        Command::Run(args) => run::run(&args, cli.color),
        Command::Validate(args) => validate::validate(&args, &mut screen),
        Command::Init(args) => init::init(&args, &mut screen),
        Command::Import(args) => import::import(&args, &mut screen),
        Command::Schema => Ok(schema::schema(&mut screen)),
        Command::Actions(args) => actions::actions(&args, &mut screen),
        Command::Fmt(args) => fmt::fmt(&args, &mut screen),
        Command::Completions(args) => Ok(completions::completions(&args, &mut screen)),
    };
    result.unwrap_or_else(|stop| {
        Screen::complain(&stop.message);
        stop.exit
    })
}
