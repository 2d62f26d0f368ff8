//! A connection that can be cut or fall silent: what stands between two processes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    /// Nothing comes through, and nobody is told.
    Silent,
    /// Connections break, and new ones are closed at once.
    Cut,
}

/// A way to one server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    line: watch::Sender<Line>,
    /// Bytes that came through to the server.
    sent: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, watched) = watch::channel(Line::Open);
        let sent = Arc::new(AtomicU64::new(0));
        let (tasks, counted) = (Tasks::new(), Arc::clone(&sent));
        tasks.clone().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *watched.borrow() != Line::Cut
                    && let Ok(server) = TcpStream::connect(server).await
                {
                    let (client_half, server_half) = (client.into_split(), server.into_split());
                    tasks.spawn(carry(client_half.0, server_half.1, watched.clone(), Some(Arc::clone(&counted))));
                    tasks.spawn(carry(server_half.0, client_half.1, watched.clone(), None));
                }
            }
        });
        Self { address, line, sent }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn open(&self) {
        self.line.send_replace(Line::Open);
    }

    pub(crate) fn silence(&self) {
        self.line.send_replace(Line::Silent);
    }

    pub(crate) fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Carries bytes one way until either side ends or the line is cut.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    counted: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            cut = line.wait_for(|line| *line == Line::Cut) => return drop(cut),
        };
        let Ok(length @ 1..) = read else { return };
        match line.wait_for(|line| *line != Line::Silent).await.map(|line| *line) {
            Ok(Line::Open | Line::Silent) => {}
            Ok(Line::Cut) | Err(_) => return,
        }
        if let Some(counted) = &counted {
            counted.fetch_add(length as u64, Ordering::Relaxed);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
