//! Redis for tests: keys on the server that `cargo xtask test` names, servers of a test's own, and a proxy before them
//! that cuts, stalls and delays.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use tempfile::TempDir;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::stream::{RECLAIM_AFTER, RedisStream, RedisTarget};
use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Names the URL of a Redis that tests may use.
const REDIS: &str = "TESTMESH_TEST_REDIS";

fn skip(reason: &str) {
    #[allow(clippy::print_stderr, reason = "whoever reads the tests' output should know what they did not do")]
    {
        eprintln!("skipped on redis: {reason}");
    }
}

/// Streams of one prefix on one server.
pub(crate) struct Keys {
    url: String,
    prefix: String,
}

impl Keys {
    /// Keys that no other test has; nothing when there is no server.
    pub(crate) fn on_test_server() -> Option<Self> {
        #[allow(clippy::disallowed_methods, reason = "tests are told by the environment where their servers are")]
        let Ok(url) = std::env::var(REDIS) else {
            skip(&format!("{REDIS} names no server"));
            return None;
        };
        Some(Self::on(url))
    }

    pub(crate) fn on(url: String) -> Self {
        let prefix = format!("test-{}", testmesh_shared::ids::new_uuid(&SystemClock).simple());
        Self { url, prefix }
    }

    pub(crate) fn target(&self, consumer: &str) -> RedisTarget {
        RedisTarget {
            url: self.url.clone(),
            prefix: self.prefix.clone(),
            consumer: consumer.to_owned(),
            ca: None,
            identity: None,
        }
    }

    pub(crate) fn stream(&self, consumer: &str) -> RedisStream {
        RedisStream::new(&self.target(consumer)).unwrap()
    }

    /// The key of the topic that runners read.
    pub(crate) fn run_flow(&self) -> String {
        format!("{}:run-flow", self.prefix)
    }

    /// Sends one command.
    pub(crate) async fn command(&self, words: &[&[u8]]) -> Value {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }

    /// How many entries the runners' topic holds.
    pub(crate) async fn len(&self) -> i64 {
        let Value::Int(length) = self.command(&[b"XLEN", self.run_flow().as_bytes()]).await else {
            panic!("no length")
        };
        length
    }

    /// Makes what is unacknowledged as old as the reclaim time.
    pub(crate) async fn age(&self) {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let key = self.run_flow();
        let pending: Vec<(String, String, i64, i64)> = cmd("XPENDING")
            .arg(&key)
            .arg("runners")
            .arg("-")
            .arg("+")
            .arg(10_000)
            .query_async(&mut connection)
            .await
            .unwrap();
        let idle = RECLAIM_AFTER.as_millis().to_string();
        for (id, consumer, ..) in pending {
            let mut claim = cmd("XCLAIM");
            claim.arg(&key).arg("runners").arg(consumer).arg(0).arg(id).arg("IDLE").arg(&idle).arg("JUSTID");
            let _: Value = claim.query_async(&mut connection).await.unwrap();
        }
    }
}

/// A server of a test's own, without persistence.
pub(crate) struct RedisServer {
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    pub(crate) folder: TempDir,
}

impl RedisServer {
    /// Starts one on a free port; nothing when none is installed.
    pub(crate) async fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_in(tempfile::tempdir().unwrap(), arguments).await
    }

    pub(crate) async fn start_in(folder: TempDir, arguments: &[&str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            skip("`redis-server` is not installed");
            return None;
        }
        let port = free_port();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { child: None, port, arguments, folder };
        server.restart().await;
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Ends it at once; what it held is lost.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it on the same port, empty, and waits until it takes connections.
    pub(crate) async fn restart(&mut self) {
        let port = self.port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.address()).await.is_err() {
            assert!(Instant::now() < deadline, "redis-server does not listen");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a proxy does with what passes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Takes connections and bytes, and passes nothing on.
    Stall,
    /// Passes everything on this much later, in each direction.
    Delay(Duration),
    /// Ends every connection and takes no new one.
    Cut,
}

/// Passes TCP connections on.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    fault: Arc<watch::Sender<Fault>>,
    tasks: Tasks,
}

impl Proxy {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fault = Arc::new(watch::Sender::new(Fault::None));
        let tasks = Tasks::new();
        let (faults, connections) = (Arc::clone(&fault), tasks.clone());
        tasks.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *faults.borrow() == Fault::Cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let mut cut = faults.subscribe();
                let (up, down) = (faults.subscribe(), faults.subscribe());
                connections.spawn(async move {
                    tokio::select! {
                        _ = cut.wait_for(|fault| *fault == Fault::Cut) => {}
                        () = pass(from_client, to_server, up) => {}
                        () = pass(from_server, to_client, down) => {}
                    }
                });
            }
        });
        Self { address, fault, tasks }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
        self.fault.send_replace(Fault::Cut);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut fault: watch::Receiver<Fault>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let _ = fault.wait_for(|fault| *fault != Fault::Stall).await;
        let now = *fault.borrow();
        if let Fault::Delay(delay) = now {
            sleep(delay).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
