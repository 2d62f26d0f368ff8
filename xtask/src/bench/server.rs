//! `cargo xtask bench server`: runs a second through `POST …/executions?wait`, durable on SQLite, 32 clients.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::load::{Call, load, once};
use super::table::{Figure, Goal};
use super::{Options, Programs, target};

const CLIENTS: usize = 32;

/// Runs every case.
pub(super) async fn run(options: &Options, programs: &Programs) -> Result<Vec<Figure>, String> {
    let time = Duration::from_secs(if options.quick { 2 } else { 10 });
    let folder = tempfile::tempdir().map_err(|error| format!("make a data folder: {error}"))?;
    let target = target::serve().await.map_err(|error| format!("start the target: {error}"))?;
    let server = Server::start(&programs.server, folder.path()).await?;
    let mut figures = Vec::new();

    let alive = Call { method: "GET", path: "/livez".to_owned(), body: Bytes::new(), wanted: "" };
    let bare = load(&server.authority, &alive, CLIENTS, time).await?;
    figures.push(Figure::new("GET /livez (the bare route)", (bare.per_second, "1/s"), None, Goal::Shown));
    let commits = commits(folder.path(), time / 2).await?;
    figures.push(Figure::new("one-row commits, bare SQLite, one writer", (commits, "1/s"), None, Goal::Shown));

    let log = "flow:\n  name: bench log\n  steps:\n    - action: log\n      config: {message: hello}\n".to_owned();
    let request = format!(
        "flow:\n  name: bench http\n  steps:\n    - action: http_request\n      config: {{method: GET, url: \"http://{target}/one\"}}\n      assert: status == 200\n"
    );
    for (name, flow) in [("one log step", log), ("one HTTP step", request)] {
        let id = server.create(flow).await?;
        let path = format!("/api/v1/flows/{id}/executions?wait=10s");
        let run = Call { method: "POST", path, body: Bytes::from_static(b"{}"), wanted: r#""status":"passed""# };
        let taken = load(&server.authority, &run, CLIENTS, time).await?;
        let rate = (taken.per_second, "1/s");
        figures.push(Figure::new(&format!("runs, {name}"), rate, Some(commits), Goal::AtLeast(1000.0)));
        figures.push(Figure::new(&format!("runs, {name}, p50"), (taken.p50_ms, "ms"), Some(bare.p50_ms), Goal::Shown));
        figures.push(Figure::new(
            &format!("runs, {name}, p99"),
            (taken.p99_ms, "ms"),
            Some(bare.p99_ms),
            Goal::AtMost(50.0),
        ));
    }
    Ok(figures)
}

/// A server of our own; ended when dropped.
struct Server {
    child: Child,
    authority: String,
}

impl Server {
    async fn start(program: &Path, data: &Path) -> Result<Self, String> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("find a free port: {error}"))?;
        let authority = port.to_string();
        let child = Command::new(program)
            .args(["--listen", &authority, "--log-level", "warn", "--data-dir"])
            .arg(data.join("server"))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("start the server: {error}"))?;
        let server = Self { child, authority };
        let ready = Call { method: "GET", path: "/readyz".to_owned(), body: Bytes::new(), wanted: "" };
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = once(&server.authority, &ready).await {
            if Instant::now() > deadline {
                return Err(format!("the server is not ready: {error}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    async fn create(&self, yaml: String) -> Result<String, String> {
        let call = Call { method: "POST", path: "/api/v1/flows".to_owned(), body: yaml.into(), wanted: "\"id\"" };
        let flow = once(&self.authority, &call).await?;
        let flow: serde_json::Value = serde_json::from_str(&flow).map_err(|error| format!("read the flow: {error}"))?;
        Ok(flow["id"].as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One-row commits a second on a database with the server's durability settings.
async fn commits(folder: &Path, time: Duration) -> Result<f64, String> {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
    use sqlx::{ConnectOptions as _, Executor as _};
    let failed = |error: sqlx::Error| format!("the bare database: {error}");
    let mut database = SqliteConnectOptions::new()
        .filename(folder.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await
        .map_err(failed)?;
    database.execute("create table runs (id integer primary key, record text not null)").await.map_err(failed)?;
    let record = "x".repeat(600);
    let started = Instant::now();
    let mut count = 0_u32;
    while started.elapsed() < time {
        sqlx::query("insert into runs (record) values ($1)")
            .bind(&record)
            .execute(&mut database)
            .await
            .map_err(failed)?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}
