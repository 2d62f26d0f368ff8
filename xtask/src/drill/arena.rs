//! Where one case takes place: a database of its own, a target, servers and what stands between them.

use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

use super::client;
use super::ledger::Ledger;
use super::seed::Seed;
use super::server::Server;
use super::target::Target;
use crate::services::Services;

/// Runs at a time in each server: more than the load needs, so that nothing waits for a slot unless it is meant to.
const CONCURRENCY: u32 = 64;

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Enough to see that it works.
    Short,
    /// As the fault matrix says.
    Long,
}

impl Scale {
    pub(crate) fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Scale::Short => short,
            Scale::Long => long,
        }
    }
}

/// How a server reaches what it needs.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// The port of PostgreSQL, or of a proxy before it.
    pub(crate) postgres: u16,
    /// The port of Redis, or of a proxy before it; none: the server knows of no Redis.
    pub(crate) redis: Option<u16>,
    /// Runs at a time.
    pub(crate) concurrency: u32,
    /// Variables of its environment.
    pub(crate) variables: Vec<(String, String)>,
}

/// One case's place.
pub(crate) struct Arena<'a> {
    pub(crate) services: &'a mut Services,
    pub(crate) target: Target,
    pub(crate) ledger: Ledger,
    pub(crate) scale: Scale,
    pub(crate) seed: Seed,
    program: PathBuf,
    database: String,
    folder: TempDir,
    servers: usize,
}

impl<'a> Arena<'a> {
    /// Makes a database with every schema, empties Redis, starts a target.
    pub(crate) async fn open(
        services: &'a mut Services,
        program: &Path,
        case: &str,
        (scale, seed): (Scale, u64),
    ) -> Result<Self, String> {
        let postgres = services.postgres.as_ref().ok_or("there is no PostgreSQL")?;
        let database =
            format!("drill_{}", case.to_ascii_lowercase().replace(|letter: char| !letter.is_alphanumeric(), "_"));
        let failed = |error: sqlx::Error| format!("make the database: {error}");
        let mut admin = PgConnection::connect(&postgres.url()).await.map_err(failed)?;
        for statement in ["drop database if exists ", "create database "] {
            admin.execute(AssertSqlSafe(format!("{statement}{database}"))).await.map_err(failed)?;
        }
        admin.close().await.map_err(failed)?;
        let url = url(postgres.port(), &database);
        migrate(program, &url)?;
        if let Some(redis) = &services.redis {
            client::redis(redis.port(), &[b"FLUSHALL"])?;
        }
        let ledger = Ledger::open(&url).await?;
        let folder = tempfile::tempdir().map_err(|error| format!("make a folder: {error}"))?;
        let target = Target::serve().await?;
        let seed = Seed::of(seed, case);
        Ok(Self { services, target, ledger, scale, seed, program: program.to_path_buf(), database, folder, servers: 0 })
    }

    /// The port of PostgreSQL itself.
    pub(crate) fn postgres_port(&self) -> Result<u16, String> {
        Ok(self.services.postgres.as_ref().ok_or("there is no PostgreSQL")?.port())
    }

    /// The port of Redis itself.
    pub(crate) fn redis_port(&self) -> Result<u16, String> {
        Ok(self.services.redis.as_ref().ok_or("there is no Redis")?.port())
    }

    /// A server that reaches PostgreSQL and Redis directly.
    pub(crate) fn spec(&self) -> Result<Spec, String> {
        let (postgres, redis) = (self.postgres_port()?, Some(self.redis_port()?));
        Ok(Spec { postgres, redis, concurrency: CONCURRENCY, variables: Vec::new() })
    }

    /// A server that is not started yet.
    pub(crate) fn server(&mut self, spec: &Spec) -> Result<Server, String> {
        self.servers += 1;
        let folder = self.folder.path();
        let mut arguments = vec!["--database-url".to_owned(), url(spec.postgres, &self.database)];
        arguments.extend(["--log-level".to_owned(), "warn".to_owned(), "--log-format".to_owned(), "text".to_owned()]);
        arguments.extend(["--concurrency".to_owned(), spec.concurrency.to_string()]);
        if let Some(redis) = spec.redis {
            arguments.extend(["--redis-url".to_owned(), format!("redis://127.0.0.1:{redis}")]);
        }
        let log = folder.join(format!("server-{}.log", self.servers));
        let mut server = Server::new(self.program.clone(), arguments, log)?;
        for (name, value) in &spec.variables {
            server.variable(name, value.clone());
        }
        Ok(server)
    }

    /// Servers of one kind, ready.
    pub(crate) async fn servers(&mut self, spec: &Spec, count: usize) -> Result<Vec<Server>, String> {
        let mut servers = Vec::new();
        for _ in 0..count {
            let mut server = self.server(spec)?;
            server.start_ready().await?;
            servers.push(server);
        }
        Ok(servers)
    }

    /// A file beside the servers' logs; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<String, String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).map_err(|error| format!("write `{}`: {error}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// Keeps the servers' logs, for people to look at.
    pub(crate) fn keep_logs(self) -> PathBuf {
        self.folder.keep()
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

fn migrate(program: &Path, url: &str) -> Result<(), String> {
    let output = Command::new(program)
        .args(["migrate", "--database-url", url])
        .env_remove("DATABASE_URL")
        .output()
        .map_err(|error| format!("start `testmesh-server migrate`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`testmesh-server migrate` failed: {}", String::from_utf8_lossy(&output.stderr)))
}
