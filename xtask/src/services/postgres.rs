//! A PostgreSQL server with the durability of production (`fsync` on) and room for every test at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};

use super::process::Process;
use super::{on_port, text};
use crate::workspace::Failure;

/// Connections at most: several servers' pools, or every test of a binary with its own.
const CONNECTIONS: &str = "max_connections=300";
/// How long one answer may take before the server counts as not ready.
const ANSWER: Duration = Duration::from_secs(2);
/// Where a socket's path ends: 108 bytes on Linux, 104 on macOS, with the file's name and the final zero.
const SOCKET_FOLDER: usize = 80;

/// How to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Ends every session, writes everything down, ends.
    Fast,
    /// Ends at once, and recovers at its next start: what a crash of the server looks like.
    Immediate,
}

/// The server: its data stays when it stops.
pub(crate) struct Postgres {
    binaries: PathBuf,
    /// The folder of the pid and the log; the data is below.
    folder: PathBuf,
    account: Option<User>,
    port: u16,
    process: Option<Process>,
}

impl Postgres {
    /// Makes a database cluster below `folder` and starts its server, on `port` or a free one.
    pub(super) fn create(binaries: &Path, folder: &Path, port: Option<u16>) -> Result<Self, Failure> {
        let account = account()?;
        let data = folder.join("postgres");
        std::fs::DirBuilder::new().mode(0o700).create(&data)?;
        if let Some(account) = &account {
            chown(&data, Some(account.uid.as_raw()), Some(account.gid.as_raw()))?;
        }
        let mut initdb = command(&binaries.join("initdb"), &data, account.as_ref())?;
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.output().map_err(|error| format!("start `initdb`: {error}"))?;
        if !made.status.success() {
            return Err(format!("`initdb` failed: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        on_port(port, |port| {
            let (binaries, folder) = (binaries.to_path_buf(), folder.to_path_buf());
            let mut server = Self { binaries, folder, account: account.clone(), port, process: None };
            server.start()?;
            Ok(server)
        })
    }

    /// Starts it, on the same port and data as before, and waits until it takes sessions. Nothing to do when it runs.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        if self.process.is_some() {
            return Ok(());
        }
        let data = self.folder.join("postgres");
        let mut server = command(&self.binaries.join("postgres"), &data, self.account.as_ref())?;
        server.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", CONNECTIONS]);
        let sockets = text(&data)?;
        let sockets = if sockets.len() < SOCKET_FOLDER { sockets } else { "" };
        server.args(["-c", &format!("unix_socket_directories={sockets}")]);
        let mut process = Process::start(server, &self.folder, "postgres")?;
        let port = self.port;
        process
            .wait_until(|| takes_sessions(port).unwrap_or(false))
            .map_err(|error| format!("the PostgreSQL server is not ready: {error}"))?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops it and waits for the end. Nothing to do when it does not run.
    pub(crate) fn stop(&mut self, how: Stop) -> Result<(), Failure> {
        let signal = match how {
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
        };
        self.process.take().map_or(Ok(()), |process| process.end_by(signal))
    }

    /// The administrator's URL.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Asked, it takes its children along; the folder goes next, so nothing needs to be written down.
        let _ = self.stop(Stop::Immediate);
    }
}

/// Whom the server runs as: it refuses root, and anybody else cannot choose.
fn account() -> Result<Option<User>, Failure> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    Err("PostgreSQL refuses root, and there is neither a user `postgres` nor `nobody`".into())
}

fn command(program: &Path, data: &Path, account: Option<&User>) -> Result<Command, Failure> {
    let mut command = Command::new(program);
    command.args(["-D", text(data)?]).current_dir(data).env("LC_ALL", "C").env_remove("PGDATA");
    if let Some(account) = account {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    Ok(command)
}

/// Opens a session and waits for `ReadyForQuery`: until then the server may accept connections and refuse sessions.
fn takes_sessions(port: u16) -> Result<bool, Failure> {
    const PROTOCOL_3: u32 = 196_608;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut hello = PROTOCOL_3.to_be_bytes().to_vec();
    hello.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
    stream.write_all(&u32::try_from(hello.len() + 4)?.to_be_bytes())?;
    stream.write_all(&hello)?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length))?.saturating_sub(4);
        let mut body = vec![0; length.min(1 << 16)];
        stream.read_exact(&mut body)?;
        match kind {
            b'Z' => return Ok(true),
            b'E' => return Ok(false),
            _ => {}
        }
    }
}
