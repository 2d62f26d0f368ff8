//! Another program of the workspace beside the servers, guarded as they are.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::guard::Guard;
use super::process::Process;
use crate::workspace::Failure;

/// A running program. Ended when dropped.
pub(crate) struct Program {
    process: Process,
    log: PathBuf,
    _guard: Guard,
}

impl Program {
    /// Starts `program` with `arguments`; what it prints goes to its log.
    pub(crate) fn start(program: &Path, arguments: &[String]) -> Result<Self, Failure> {
        let name = program.file_name().and_then(|name| name.to_str()).ok_or("a program without a name")?;
        let folder = tempfile::Builder::new().prefix("testmesh-program-").tempdir()?;
        let guard = Guard::start(folder)?;
        // Started by this link, its command line names the folder, which is how the guard knows it.
        let link = guard.folder().join(name);
        symlink(program, &link)?;
        let mut command = Command::new(link);
        command.args(arguments).current_dir(guard.folder());
        let process = Process::start(command, guard.folder(), name)?;
        Ok(Self { process, log: guard.folder().join(format!("{name}.log")), _guard: guard })
    }

    /// Waits until it has printed a line that `wanted` makes something of.
    pub(crate) fn wait_for<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
        let log = self.log.clone();
        let find = || std::fs::read_to_string(&log).ok()?.lines().find_map(&wanted);
        self.process.wait_until(|| find().is_some())?;
        find().ok_or_else(|| "what it printed is gone".into())
    }

    /// The last lines that it printed.
    pub(crate) fn log_end(&self) -> String {
        self.process.log_end()
    }
}
