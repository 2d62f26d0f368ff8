//! One server process: started with its log and its pid in files, signalled, awaited.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::workspace::Failure;

/// How long a server may take to start, or to stop when it is asked to.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a server that starts or stops is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A running server. Killed when dropped.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
    pid_file: PathBuf,
}

impl Process {
    /// Starts `command` as `<folder>/<name>.pid` with its output in `<folder>/<name>.log`.
    pub(super) fn start(mut command: Command, folder: &Path, name: &str) -> Result<Self, Failure> {
        let log = folder.join(format!("{name}.log"));
        let pid_file = folder.join(format!("{name}.pid"));
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // An interrupt from the terminal ends the one who started it, which then stops it in order.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("start `{}`: {error}", command.get_program().display()))?;
        let process = Self { child, log, pid_file };
        std::fs::write(&process.pid_file, process.child.id().to_string())?;
        Ok(process)
    }

    /// Waits until it answers.
    pub(super) fn wait_until(&mut self, answers: impl Fn() -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !answers() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended with {status}:\n{}", self.log_end()).into());
            }
            if Instant::now() > deadline {
                let seconds = PATIENCE.as_secs();
                return Err(format!("it does not answer after {seconds} s:\n{}", self.log_end()).into());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Sends a signal that ends it, and waits for the end.
    pub(super) fn end_by(mut self, signal: Signal) -> Result<(), Failure> {
        self.signal(signal)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(format!("it still runs {} s after {signal}", PATIENCE.as_secs()).into());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// The last lines of its log.
    pub(super) fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The number may soon be somebody else's.
        let _ = std::fs::remove_file(&self.pid_file);
    }
}
