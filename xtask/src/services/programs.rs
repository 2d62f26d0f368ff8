//! Where the servers' programs are, and how they get there.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Uid;

use super::Wanted;
use crate::workspace::Failure;

/// What to do about a server that is not installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Install it, where this process may.
    Install,
    /// Go on without.
    Skip,
}

/// Debian's packages. They bring a service each, which is not started.
const PACKAGES: [&str; 2] = ["postgresql", "redis-server"];
/// Asked by Debian's packages whether to start a service. 101 is "no".
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_SAYS_NO: &str =
    "#!/bin/sh\n# Written by `cargo xtask test` while it installs servers for itself.\nexit 101\n";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// The folder that has `initdb` and `postgres`.
    pub(super) postgres: Option<PathBuf>,
    /// `redis-server`.
    pub(super) redis: Option<PathBuf>,
    /// Why one that was wanted was not found, and how to get it.
    pub(super) missing: Vec<String>,
}

impl Programs {
    /// Looks for what is wanted, installs it if it may, and looks again.
    pub(super) fn find(wanted: Wanted, out: &mut dyn Write) -> Result<Self, Failure> {
        let found = Self::look(wanted);
        if found.is_whole(wanted) {
            return Ok(found);
        }
        let trouble = match wanted.missing {
            Missing::Install => install(out)?,
            Missing::Skip => Some("it is not installed".to_owned()),
        };
        let mut found = Self::look(wanted);
        let reason = trouble.unwrap_or_else(|| "its programs are not where they are looked for".to_owned());
        for (name, is_missing) in [
            ("PostgreSQL", wanted.postgres && found.postgres.is_none()),
            ("Redis", wanted.redis && found.redis.is_none()),
        ] {
            if is_missing {
                found.missing.push(format!("{name}: {reason}; on Debian: `{}`", by_hand()));
            }
        }
        Ok(found)
    }

    fn look(wanted: Wanted) -> Self {
        let postgres = || folders().into_iter().find(|folder| has(folder, "initdb") && has(folder, "postgres"));
        let redis = || folders().into_iter().find(|folder| has(folder, "redis-server"));
        Self {
            postgres: wanted.postgres.then(postgres).flatten(),
            redis: wanted.redis.then(redis).flatten().map(|folder| folder.join("redis-server")),
            missing: Vec::new(),
        }
    }

    fn is_whole(&self, wanted: Wanted) -> bool {
        (self.postgres.is_some() || !wanted.postgres) && (self.redis.is_some() || !wanted.redis)
    }
}

fn has(folder: &Path, program: &str) -> bool {
    folder.join(program).is_file()
}

/// Where programs may be: the search path, then where distributions put PostgreSQL, the newest version first.
#[allow(clippy::disallowed_methods, reason = "the search path is part of the environment")]
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let mut versions: Vec<(u32, PathBuf)> = ["/usr/lib/postgresql", "/usr/local", "/usr", "/opt/homebrew/opt"]
        .into_iter()
        .filter_map(|parent| std::fs::read_dir(parent).ok())
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let number = name.trim_start_matches("postgresql@").trim_start_matches("pgsql-");
            Some((number.parse().ok()?, path.join("bin")))
        })
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    folders
}

fn by_hand() -> String {
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {}", PACKAGES.join(" "))
}

/// Installs both servers where that is allowed and known; says why not otherwise.
fn install(out: &mut dyn Write) -> Result<Option<String>, Failure> {
    if !Uid::effective().is_root() {
        return Ok(Some("it is not installed, and only root can install it".to_owned()));
    }
    if Command::new("apt-get").arg("--version").output().is_err() {
        return Ok(Some("it is not installed, and this system has no apt-get".to_owned()));
    }
    writeln!(out, "installing {}, without starting their services", PACKAGES.join(" and "))?;
    let _no = Policy::set()?;
    let apt = |arguments: &[&str]| -> Result<bool, Failure> {
        let status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status()?;
        Ok(status.success())
    };
    if !apt(&["update", "-qq"])? {
        return Ok(Some("`apt-get update` failed".to_owned()));
    }
    let mut arguments = vec!["install", "-qq", "-y", "--no-install-recommends"];
    arguments.extend(PACKAGES);
    if !apt(&arguments)? {
        return Ok(Some("`apt-get install` failed".to_owned()));
    }
    Ok(None)
}

/// Keeps packages from starting their services. One that is there already is the administrator's, and stays.
struct Policy {
    ours: bool,
}

impl Policy {
    fn set() -> Result<Self, Failure> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        std::fs::write(POLICY, POLICY_SAYS_NO)?;
        std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { ours: true })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            // Fails only when somebody else removed it.
            let _ = std::fs::remove_file(POLICY);
        }
    }
}
