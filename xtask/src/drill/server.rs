//! A `testmesh-server` process: started, killed, stopped, and started again on the same port.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::{self, Answer};

/// How long one may take to be ready, or to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often one that starts or ends is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What the names of settings start with that a developer may have set for servers of their own.
const SETTINGS: [&str; 3] = ["TESTMESH_", "DATABASE_URL", "REDIS_URL"];

/// The process; killed when dropped.
pub(crate) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Its address and port.
    pub(crate) authority: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// One that will listen on a free port.
    pub(super) fn new(program: PathBuf, arguments: Vec<String>, log: PathBuf) -> Result<Self, String> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("find a free port: {error}"))?;
        let environment = Vec::new();
        Ok(Self { program, arguments, environment, authority: port.to_string(), log, child: None })
    }

    /// Gives it a variable for its next start.
    pub(super) fn variable(&mut self, name: &str, value: String) {
        self.environment.push((name.to_owned(), value));
    }

    /// Starts it, without waiting until it is ready. Nothing to do when it runs.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        if self.child.is_some() {
            return Ok(());
        }
        let failed = |error: std::io::Error| format!("start `{}`: {error}", self.program.display());
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let mut command = Command::new(&self.program);
        let is_setting = |name: &str| SETTINGS.iter().any(|start| name.starts_with(start));
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().cloned()).args(&self.arguments).args(["--listen", &self.authority]);
        let output = log.try_clone().map_err(failed)?;
        // A group of its own: an interrupt from the terminal ends the drill, which then ends the servers.
        command.stdin(Stdio::null()).stdout(output).stderr(log).process_group(0);
        self.child = Some(command.spawn().map_err(failed)?);
        Ok(())
    }

    /// Starts it and waits until it can serve; how long that took.
    pub(crate) async fn start_ready(&mut self) -> Result<Duration, String> {
        let started = Instant::now();
        self.start()?;
        while !self.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
            if let Some(status) = self.ended()? {
                return Err(format!("a server ended with {status}:\n{}", self.log_end()));
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("a server is not ready after {} s:\n{}", PATIENCE.as_secs(), self.log_end()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(started.elapsed())
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        let Some(child) = &mut self.child else { return Ok(None) };
        child.try_wait().map_err(|error| format!("look at a server: {error}"))
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end and waits until it has.
    pub(crate) async fn terminate(&mut self) -> Result<ExitStatus, String> {
        self.signal(Signal::SIGTERM)?;
        self.wait_for_end().await
    }

    /// Waits until it has ended, as it was asked to.
    pub(crate) async fn wait_for_end(&mut self) -> Result<ExitStatus, String> {
        let started = Instant::now();
        loop {
            match self.ended()? {
                Some(status) => {
                    self.child = None;
                    return Ok(status);
                }
                None if self.child.is_none() => return Err("the server does not run".to_owned()),
                None => {}
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("a server still runs {} s after SIGTERM", PATIENCE.as_secs()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        let Some(pid) = self.pid() else { return Err("the server does not run".to_owned()) };
        let pid = i32::try_from(pid).map_err(|error| error.to_string())?;
        kill(Pid::from_raw(pid), signal).map_err(|error| format!("send {signal}: {error}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, String> {
        client::send(&self.authority, "GET", path, None, String::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: String) -> Result<Answer, String> {
        client::send(&self.authority, "POST", path, None, body).await
    }

    /// The end of what it logged.
    pub(crate) fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Lines of its log that tell of a panic.
    pub(crate) fn panics(&self) -> usize {
        std::fs::read_to_string(&self.log)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.contains("panicked at"))
            .count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
