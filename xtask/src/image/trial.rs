//! Runs the image's tree as a container would: its files alone and read-only, an unprivileged user, no environment but its
//! own. Needs the right to mount in a namespace.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::{DATA, PROGRAM_FOLDER, USER};
use crate::workspace::Failure;

/// Mounts the tree read-only over itself, gives it what a container has besides, and becomes the program in it.
const ENTER: &str = r#"
set -eu
tree=$1 data=$2 user=$3 own=$4
shift 4
mount --bind "$tree" "$tree"
mount -o remount,bind,ro "$tree"
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
mount --bind "$data" "$tree/var/lib/testmesh"
# Nothing of this environment, and the image's own.
exec env -i "$own" "$(command -v chroot)" "$user" "$tree" "$@"
"#;
/// How long the server may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// The server while it is tried. Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the server, asks it for its health by its own binary, runs a flow on it, and ends it; says whether all worked.
pub(super) fn run(tree: &Path, out: &mut dyn Write) -> Result<bool, Failure> {
    let data = tempfile::tempdir()?;
    if Uid::effective().is_root() {
        std::os::unix::fs::chown(data.path(), Some(USER), Some(USER))?;
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = format!("127.0.0.1:{port}");
    let enter = |program: &str, arguments: &[&str]| command(tree, data.path(), program, arguments);

    let elsewhere = enter("testmesh-server", &["--listen", "127.0.0.1:0", "--data-dir", "/elsewhere"]).output()?;
    let refused = said(&elsewhere).contains("Read-only file system");
    writeln!(out, "{} nothing outside of the data folder can be written", mark(refused))?;

    let server =
        enter("testmesh-server", &["--listen", &address]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut server = Running(server);
    let deadline = Instant::now() + PATIENCE;
    let health = loop {
        let health = enter("testmesh-server", &["health", "--listen", &address]).output()?;
        let ended = server.0.try_wait()?.is_some();
        if health.status.success() || ended || Instant::now() > deadline {
            break health;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    writeln!(out, "{} its own binary finds the server well: {}", mark(health.status.success()), said(&health).trim())?;
    let url = format!("http://{address}");
    let flow = enter("testmesh", &["run", "/usr/share/testmesh/hello.yaml", "--server", &url]).output()?;
    writeln!(
        out,
        "{} a flow passes on it: {}",
        mark(flow.status.success()),
        said(&flow).lines().last().unwrap_or_default()
    )?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(server.0.id())?),
        nix::sys::signal::Signal::SIGTERM,
    )?;
    let ended = loop {
        match server.0.try_wait()? {
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            status => break status.is_some_and(|status| status.success()),
        }
    };
    writeln!(out, "{} it ends when it is asked to", mark(ended))?;
    Ok(refused && health.status.success() && flow.status.success() && ended)
}

fn mark(holds: bool) -> &'static str {
    if holds { "ok     " } else { "FAILED " }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn command(tree: &Path, data: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    let user = if Uid::effective().is_root() {
        format!("--userspec={USER}:{USER}")
    } else {
        // One's own user is the only one there: it stands for root.
        command.arg("--map-root-user");
        "--userspec=0:0".to_owned()
    };
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["sh", "-c", ENTER, "enter"]).arg(tree).arg(data).arg(user);
    command.arg(format!("TESTMESH_DATA_DIR=/{DATA}"));
    command.arg(format!("/{PROGRAM_FOLDER}/{program}")).args(arguments).stdin(Stdio::null());
    command
}
