//! A server process of one test.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A flow that passes without leaving the process.
pub(crate) const HELLO: &str = "name: hello\nsteps:\n  - action: log\n    config:\n      message: hello\n";

/// A flow that takes a minute, with a teardown.
pub(crate) const SLOW: &str = "name: slow\nsteps:\n  - id: nap\n    action: delay\n    config:\n      duration: 60s\nteardown:\n  - id: tidy\n    action: log\n    config:\n      message: tidied\n";

/// A running server. It is killed when the test ends.
pub(crate) struct Server {
    child: Child,
    out: Mutex<BufReader<ChildStdout>>,
    base: String,
    client: reqwest::Client,
}

/// The binary with no setting from outside.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testmesh-server"));
    let is_ours = |name: &str| name.starts_with("TESTMESH_") || name == "DATABASE_URL" || name == "REDIS_URL";
    let ours = std::env::vars_os().filter(|(name, _)| is_ours(&name.to_string_lossy()));
    ours.for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.stdin(Stdio::null());
    command
}

/// Runs the binary to its end: its exit code, standard output, standard error.
pub(crate) fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

impl Server {
    /// Starts a server on a free port with its data in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// Starts a server with more flags.
    pub(crate) fn start_with(folder: &Path, flags: &[&str]) -> Self {
        let mut command = binary();
        command.args(["--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"]).arg(folder).args(flags);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let Some(address) = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()) else {
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("the server did not say where it listens: {line:?} {errors}");
        };
        Self {
            base: format!("http://{address}"),
            child,
            out: Mutex::new(out),
            client: reqwest::Client::builder().build().unwrap(),
        }
    }

    /// The address in the line that says where another listener is.
    pub(crate) fn address_of(&self, listener: &str) -> String {
        let mut out = self.out.lock().unwrap();
        let mut line = String::new();
        while !line.contains(listener) {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "the server says where its listeners are");
        }
        line.split(listener).nth(1).unwrap().trim().to_owned()
    }

    /// Its address and port.
    pub(crate) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).timeout(Duration::from_mins(1))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    /// Posts a flow's text.
    pub(crate) async fn post_yaml(&self, path: &str, yaml: &str) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path).header("content-type", "application/yaml");
        answer(request.body(yaml.to_owned())).await
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Kills the process at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        let wait = tokio::task::spawn_blocking(move || child.wait().unwrap());
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the server ends within 30 s").unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request: status and JSON body (null when it is something else).
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}
