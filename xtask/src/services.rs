//! A PostgreSQL and a Redis server of our own: on free ports, in a temporary folder, gone when dropped. And the library
//! that shows a process another time.
//!
//! Nothing of the machine's own services is touched: not their ports, not their data, and none is started or stopped. A
//! guard, a process beside this one, cleans up even when this one is killed.

mod guard;
pub(crate) mod peers;
mod postgres;
mod process;
mod program;
mod programs;
mod redis;
pub(crate) mod tools;

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use self::guard::Guard;
pub(crate) use self::postgres::{Postgres, Stop};
pub(crate) use self::program::Program;
use self::programs::Programs;
pub(crate) use self::programs::{FAKETIME, Missing, find as find_program};
pub(crate) use self::redis::Redis;
use crate::workspace::Failure;

/// Which servers to start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// PostgreSQL.
    pub(crate) postgres: bool,
    /// Redis.
    pub(crate) redis: bool,
    /// The library that shows a process another time.
    pub(crate) faketime: bool,
    /// What to do about one that is not installed.
    pub(crate) missing: Missing,
}

/// Where the servers listen: each on a port that is given, or on a free one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ports {
    /// PostgreSQL.
    pub(crate) postgres: Option<u16>,
    /// Redis.
    pub(crate) redis: Option<u16>,
}

/// Running servers. Dropped in this order: the guard last, which removes their folder.
pub(crate) struct Services {
    /// There when it was wanted and can be had.
    pub(crate) postgres: Option<Postgres>,
    /// As above.
    pub(crate) redis: Option<Redis>,
    /// What a process loads to be shown another time; there when it was wanted and can be had.
    pub(crate) faketime: Option<PathBuf>,
    /// Why a wanted one is not there, and how to get it.
    pub(crate) missing: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "held for what its end does"))]
    guard: Option<Guard>,
}

impl Services {
    /// None at all.
    pub(crate) fn none() -> Self {
        Self { postgres: None, redis: None, faketime: None, missing: Vec::new(), guard: None }
    }

    /// Starts what is wanted, and waits until it answers. What cannot be had is named in `missing`; an installed server
    /// that does not start is an error.
    pub(crate) fn start(wanted: Wanted, out: &mut dyn Write) -> Result<Self, Failure> {
        Self::start_at(wanted, Ports::default(), out)
    }

    /// As [`Self::start`], on these ports.
    pub(crate) fn start_at(wanted: Wanted, ports: Ports, out: &mut dyn Write) -> Result<Self, Failure> {
        let programs = Programs::find(wanted, out)?;
        if programs.postgres.is_none() && programs.redis.is_none() {
            return Ok(Self { faketime: programs.faketime, missing: programs.missing, ..Self::none() });
        }
        let folder = tempfile::Builder::new().prefix("testmesh-services-").tempdir()?;
        // PostgreSQL refuses root, so another user has to get to its data below.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let guard = Guard::start(folder)?;
        let postgres = match &programs.postgres {
            Some(binaries) => Some(Postgres::create(binaries, guard.folder(), ports.postgres)?),
            None => None,
        };
        let redis = match &programs.redis {
            Some(program) => Some(Redis::create(program, guard.folder(), ports.redis)?),
            None => None,
        };
        Ok(Self { postgres, redis, faketime: programs.faketime, missing: programs.missing, guard: Some(guard) })
    }
}

/// Makes a server on a port: the one that is given, which must be free, or any free one. Another process may take that
/// before the server does, so a few are tried.
fn on_port<T>(port: Option<u16>, create: impl Fn(u16) -> Result<T, Failure>) -> Result<T, Failure> {
    if let Some(port) = port {
        // Asked first: what listens there already would be taken for the server.
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("port {port} cannot be used: {error}"))?;
        return create(port);
    }
    let mut last = None;
    for _ in 0..3 {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        match create(port) {
            Ok(server) => return Ok(server),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| "no port was tried".into()))
}

/// A path as text for a command line.
fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| format!("`{}` is not UTF-8", path.display()).into())
}

#[cfg(test)]
mod tests;
