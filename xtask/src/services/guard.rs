//! A process that outlives this one for as long as it takes to clean up.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::workspace::Failure;

/// Removes a folder, and ends the servers in it, when this is dropped or the process that holds it ends.
pub(super) struct Guard {
    folder: PathBuf,
    shell: Child,
}

impl Guard {
    pub(super) fn start(folder: TempDir) -> Result<Self, Failure> {
        let shell = Command::new("sh")
            .args(["-c", include_str!("guard.sh"), "testmesh-services"])
            .arg(folder.path())
            // The pipe that it reads closes with this process, however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of the terminal's interrupt.
            .process_group(0)
            .spawn()?;
        Ok(Self { folder: folder.keep(), shell })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Fails only when it has ended by itself.
        let _ = self.shell.wait();
    }
}
