//! A server of our own, on a free port and an empty data folder, ended when dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Setting;
use crate::workspace::Failure;

/// How long a server may take to be ready.
const START: Duration = Duration::from_secs(30);

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);

/// The tokens file of a server that has one, in its folder.
const TOKENS: &str = "tokens";

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// Its address and port.
    pub(crate) authority: String,
    /// What it asks callers for; none: it takes everyone on this machine.
    pub(super) token: Option<String>,
    /// Its data folder, with its log beside the data.
    folder: TempDir,
}

impl Server {
    /// Starts one that takes every caller, and waits until it is ready.
    pub(super) fn start(setting: &Setting<'_>) -> Result<Self, Failure> {
        Self::start_program(setting.program("testmesh-server").as_ref())
    }

    /// As [`Self::start`], by the path of the program.
    pub(crate) fn start_program(program: &OsStr) -> Result<Self, Failure> {
        Self::start_in(program, tempfile::tempdir()?, None)
    }

    /// Starts one that asks for a token of the scope `admin`, and waits until it is ready.
    pub(super) fn start_with_token(setting: &Setting<'_>) -> Result<Self, Failure> {
        let program = setting.program("testmesh-server");
        let output = Command::new(program).args(["token", "create", "--name", "tests", "--scope", "admin"]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let word = |prefix: &str| text.split_whitespace().find(|word| word.starts_with(prefix));
        let (Some(line), Some(token)) = (word("tests:admin:"), word("tm_")) else {
            return Err(format!("`token create` printed no token: {text}").into());
        };
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join(TOKENS), format!("{line}\n"))?;
        Self::start_in(setting.program("testmesh-server").as_ref(), folder, Some(token.to_owned()))
    }

    fn start_in(program: &OsStr, folder: TempDir, token: Option<String>) -> Result<Self, Failure> {
        let authority = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let log = File::create(folder.path().join("server.log"))?;
        let mut command = Command::new(program);
        command.args(["--listen", &authority, "--data-dir"]).arg(folder.path().join("data"));
        if token.is_some() {
            command.arg("--tokens-file").arg(folder.path().join(TOKENS));
        }
        let child =
            command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut server = Self { child, authority, token, folder };
        let deadline = Instant::now() + START;
        while !server.is_ready() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("the server ended with {status}: {}", server.log()).into());
            }
            if Instant::now() > deadline {
                return Err(format!("the server is not ready after {} s: {}", START.as_secs(), server.log()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn is_ready(&self) -> bool {
        self.request("GET", "/readyz", "text/plain", "").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Sends one request and gives back the whole answer.
    pub(crate) fn request(&self, method: &str, path: &str, content_type: &str, body: &str) -> Result<String, Failure> {
        let authorization = match &self.token {
            Some(token) => format!("authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let mut stream = TcpStream::connect(&self.authority)?;
        stream.set_read_timeout(Some(REQUEST))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\
             {authorization}connection: close\r\n\r\n{body}",
            self.authority,
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Whether it still runs.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what it logged.
    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// A folder that is gone with the server.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
