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

/// What the library is called that shows a process another time.
pub(crate) const FAKETIME: &str = "libfaketime";
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
    /// `libfaketime`.
    pub(super) faketime: Option<PathBuf>,
    /// Why one that was wanted was not found, and how to get it.
    pub(super) missing: Vec<String>,
}

impl Programs {
    /// Looks for what is wanted, installs what is lacking if it may, and looks again.
    pub(super) fn find(wanted: Wanted, out: &mut dyn Write) -> Result<Self, Failure> {
        let found = Self::look(wanted);
        if found.lacking(wanted).is_empty() {
            return Ok(found);
        }
        let trouble = match wanted.missing {
            Missing::Install => {
                let packages: Vec<&str> = found.lacking(wanted).iter().map(|lacking| lacking.package).collect();
                install(&packages, out)?
            }
            Missing::Skip => Some("it is not installed".to_owned()),
        };
        let mut found = Self::look(wanted);
        let reason = trouble.unwrap_or_else(|| "it is not where it is looked for".to_owned());
        let why =
            |lacking: &Lacking| format!("{}: {reason}; on Debian: `{}`", lacking.name, by_hand(&[lacking.package]));
        found.missing = found.lacking(wanted).iter().map(why).collect();
        Ok(found)
    }

    fn look(wanted: Wanted) -> Self {
        let postgres = || folders().into_iter().find(|folder| has(folder, "initdb") && has(folder, "postgres"));
        let redis = || folders().into_iter().find(|folder| has(folder, "redis-server"));
        Self {
            postgres: wanted.postgres.then(postgres).flatten(),
            redis: wanted.redis.then(redis).flatten().map(|folder| folder.join("redis-server")),
            faketime: wanted.faketime.then(faketime).flatten(),
            missing: Vec::new(),
        }
    }

    /// What is wanted and was not found.
    fn lacking(&self, wanted: Wanted) -> Vec<Lacking> {
        let all = [
            (wanted.postgres && self.postgres.is_none(), Lacking { name: "PostgreSQL", package: "postgresql" }),
            (wanted.redis && self.redis.is_none(), Lacking { name: "Redis", package: "redis-server" }),
            (wanted.faketime && self.faketime.is_none(), Lacking { name: FAKETIME, package: "faketime" }),
        ];
        all.into_iter().filter_map(|(is_lacking, what)| is_lacking.then_some(what)).collect()
    }
}

/// Something that is not there.
struct Lacking {
    name: &'static str,
    /// Debian's package. Those of servers bring a service each, which is not started.
    package: &'static str,
}

/// Where distributions keep it.
fn faketime() -> Option<PathBuf> {
    let folders = ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib", "lib64"];
    let paths = folders.map(|folder| Path::new("/usr").join(folder).join("faketime/libfaketime.so.1"));
    paths.into_iter().find(|path| path.exists())
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

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    folders().into_iter().find(|folder| has(folder, program)).map(|folder| folder.join(program))
}

/// The command that installs packages.
pub(super) fn by_hand(packages: &[&str]) -> String {
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {}", packages.join(" "))
}

/// Installs packages where that is allowed and known; says why not otherwise.
pub(super) fn install(packages: &[&str], out: &mut dyn Write) -> Result<Option<String>, Failure> {
    if !Uid::effective().is_root() {
        return Ok(Some("it is not installed, and only root can install it".to_owned()));
    }
    if Command::new("apt-get").arg("--version").output().is_err() {
        return Ok(Some("it is not installed, and this system has no apt-get".to_owned()));
    }
    writeln!(out, "installing {}, without starting a service", packages.join(" and "))?;
    let _no = Policy::set()?;
    let apt = |arguments: &[&str]| -> Result<bool, Failure> {
        let status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status()?;
        Ok(status.success())
    };
    if !apt(&["update", "-qq"])? {
        return Ok(Some("`apt-get update` failed".to_owned()));
    }
    let mut failed = Vec::new();
    for &package in packages {
        // One at a time, so that one that cannot be had keeps nothing else away.
        if !apt(&["install", "-qq", "-y", "--no-install-recommends", package])? {
            failed.push(package);
        }
    }
    Ok((!failed.is_empty()).then(|| format!("`apt-get install {}` failed", failed.join(" "))))
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
