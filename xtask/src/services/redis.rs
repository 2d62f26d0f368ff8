//! A Redis server that keeps nothing: started again, it is empty.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::Process;
use super::{on_port, text};
use crate::workspace::Failure;

/// How long one answer may take before the server counts as not ready.
const ANSWER: Duration = Duration::from_secs(2);

/// The server.
pub(crate) struct Redis {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Redis {
    /// Starts one with its pid and its log in `folder`, on `port` or a free one.
    pub(super) fn create(program: &Path, folder: &Path, port: Option<u16>) -> Result<Self, Failure> {
        on_port(port, |port| {
            let mut server = Self { program: program.to_path_buf(), folder: folder.to_path_buf(), port, process: None };
            server.start()?;
            Ok(server)
        })
    }

    /// Starts it, empty, on the same port as before, and waits until it answers. Nothing to do when it runs.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        if self.process.is_some() {
            return Ok(());
        }
        let port = self.port;
        let mut server = Command::new(&self.program);
        server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", text(&self.folder)?]);
        server.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        // Its command line goes on to name the folder, which is how the guard knows it.
        server.args(["--set-proc-title", "no"]);
        let mut process = Process::start(server, &self.folder, "redis")?;
        process
            .wait_until(|| answers(port).unwrap_or(false))
            .map_err(|error| format!("the Redis server is not ready: {error}"))?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it at once, with all that it holds. Nothing to do when it does not run.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.process.take().map_or(Ok(()), |process| process.end_by(Signal::SIGKILL))
    }

    /// Makes it stand still: connections stay open and nothing answers.
    pub(crate) fn pause(&self) -> Result<(), Failure> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::SIGSTOP))
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Result<(), Failure> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::SIGCONT))
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

fn answers(port: u16) -> Result<bool, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG\r\n")
}
