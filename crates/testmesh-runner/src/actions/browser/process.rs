//! A browser of a run's own: started headless on an empty profile, and killed with all its processes.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use parking_lot::Mutex;
use tempfile::TempDir;
use testmesh_shared::tasks::Tasks;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, Command};

use super::devtools::Devtools;
use super::gate::Gate;
use crate::actions::exec::{Group, apart};

/// The descriptors that the browser listens and speaks on.
const LISTENS: i32 = 3;
const SPEAKS: i32 = 4;
/// What is kept of what it prints: the last bytes.
const PRINTED: usize = 4 << 10;
/// Its processes write to the profile until they are gone: so often, and with such pauses, its removal is tried.
const REMOVALS: (u32, Duration) = (20, Duration::from_millis(10));

/// Settings of every browser: nothing is asked, nothing fetched, every connection goes through the gate.
const SETTINGS: &[&str] = &[
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--proxy-bypass-list=<-loopback>",
    "--use-mock-keychain",
];

/// What the browser printed last.
#[derive(Clone, Default)]
pub(super) struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    /// The last line that says something.
    pub(super) fn last_line(&self) -> Option<String> {
        let bytes = self.0.lock();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }

    async fn fill(&self, mut from: ChildStderr) {
        let mut chunk = [0; 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            let mut bytes = self.0.lock();
            bytes.extend_from_slice(&chunk[..count]);
            let excess = bytes.len().saturating_sub(PRINTED);
            bytes.drain(..excess);
        }
    }
}

/// Starts a browser, which lasts as long as `tasks`, and gives its voice.
pub(super) fn start<'e>(
    program: &Path,
    environment: impl Iterator<Item = (&'e str, &'e str)>,
    gate: &Gate,
    tasks: &Tasks,
) -> io::Result<(Devtools, Printed)> {
    let profile = tempfile::Builder::new().prefix("testmesh-browser-").tempdir()?;
    let (to, hears) = pipe::pipe()?;
    let (says, from) = pipe::pipe()?;
    let mut command = Command::new(program);
    command.args(SETTINGS);
    command.arg(format!("--proxy-server=socks5://{}", gate.address));
    let mut folder = std::ffi::OsString::from("--user-data-dir=");
    folder.push(profile.path());
    command.arg(folder);
    // Its own walls need a user that is not root.
    if nix::unistd::geteuid().is_root() {
        command.arg("--no-sandbox");
    }
    command.arg("about:blank").env_clear().envs(environment).env("HOME", profile.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    apart(&mut command);
    let ends = vec![
        FdMapping { parent_fd: hears.into_blocking_fd()?, child_fd: LISTENS },
        FdMapping { parent_fd: says.into_blocking_fd()?, child_fd: SPEAKS },
    ];
    command.fd_mappings(ends).map_err(io::Error::other)?;
    let mut child = command.spawn()?;
    // The child has its ends now: ours must go, or the end of its pipe would never be seen.
    drop(command);
    let printed = Printed::default();
    let (cancel, errors, filled) = (tasks.cancelled().clone(), child.stderr.take(), printed.clone());
    let running = Running { group: Some(Group::of(&child)), child, profile: Some(profile) };
    tasks.spawn(async move {
        let mut running = running;
        let reading = async {
            if let Some(errors) = errors {
                filled.fill(errors).await;
            }
            let _ = running.child.wait().await;
        };
        let _ = cancel.run_until_cancelled(reading).await;
        drop(running);
    });
    Ok((Devtools::over(to, from, tasks), printed))
}

/// A browser's processes and folder. Dropped, they are gone.
struct Running {
    group: Option<Group>,
    child: Child,
    profile: Option<TempDir>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group = None;
        let Some(profile) = self.profile.take() else { return };
        let folder = profile.keep();
        for _ in 0..REMOVALS.0 {
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => std::thread::sleep(REMOVALS.1),
                _ => return,
            }
        }
        tracing::warn!(folder = %folder.display(), "the profile of a browser cannot be removed");
    }
}
