//! The TestMesh server: reads settings, wires the domains, serves, stops in order. No logic of its own.
//!
//! Exit codes: 0 stopped as asked, 1 something failed, 2 a setting is wrong.

mod callers;
mod credentials;
mod databases;
mod health;
mod server;
mod settings;
mod shape;
mod signals;
mod token;
mod wiring;

use std::io::Write;
use std::process::ExitCode;

use databases::Domain;
use settings::{Command, CommandLine, DatabaseSettings, Refusal, Settings, TokenCommand, Variables};

/// Why the server did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A setting is wrong; says which and what would be right.
    Setting(String),
    /// Something failed; says what, with the whole chain of causes.
    Failed(String),
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let outcome = match settings::resolve(&arguments, &Variables::of_process()) {
        Ok(command_line) => run(&command_line),
        // Prints it, to standard output when it was asked for.
        Err(Refusal::Flags(error)) => error.exit(),
        Err(Refusal::Setting(message)) => Err(Failure::Setting(message)),
    };
    let (message, code) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Setting(message)) => (message, 2),
        Err(Failure::Failed(message)) => (message, 1),
    };
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "testmesh-server: {message}");
    ExitCode::from(code)
}

fn run(command_line: &CommandLine) -> Result<(), Failure> {
    match &command_line.command {
        Some(Command::Token { command: TokenCommand::Create { name, scope } }) => token::create(name, *scope),
        Some(Command::Migrate { schemas, database, admin, .. }) => {
            migrate(database, schemas, admin.admin_url.as_deref())
        }
        Some(Command::Health(settings)) => health::ask(settings),
        Some(Command::Config { format, settings, .. }) => print(&settings::show(settings, *format)),
        None => serve(&command_line.settings),
    }
}

fn serve(settings: &Settings) -> Result<(), Failure> {
    runtime()?.block_on(server::run(settings))
}

fn migrate(settings: &DatabaseSettings, domains: &[Domain], admin_url: Option<&str>) -> Result<(), Failure> {
    let done = runtime()?.block_on(databases::migrate(settings, domains, admin_url))?;
    print(&format!("{done}\n"))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::Failed(format!("cannot write to stdout: {error}")))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))
}

impl Failure {
    /// Something failed: the error and everything that caused it.
    pub(crate) fn failed(error: &dyn std::error::Error) -> Self {
        Self::Failed(chain(error))
    }
}

/// An error and everything that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message.push_str(": ");
        message.push_str(&inner.to_string());
        cause = inner.source();
    }
    message
}
