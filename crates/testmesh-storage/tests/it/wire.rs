//! The other end of the wire as a test wants it: silent, lossy, or saying what it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of the request on each connection.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It is read and never answered.
    Silence,
    /// It is carried out by the server at this address, and the answer of every second one, from the first, is lost.
    Lossy(String),
    /// It is carried out by nobody, and the connection closes.
    Closed,
    /// It gets this status and body.
    Told(u16, String),
}

/// A listener that gives every connection one fate and then closes it; it ends with the test's runtime.
pub(crate) struct Wire {
    pub(crate) url: String,
    requests: Arc<AtomicUsize>,
}

impl Wire {
    pub(crate) async fn with(fate: Fate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let (counter, tasks) = (Arc::clone(&requests), Tasks::new());
        tasks.clone().spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let fate = fate.clone();
                tasks.spawn(async move { meet(stream, number, fate).await });
            }
        });
        Self { url, requests }
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn meet(stream: TcpStream, number: usize, fate: Fate) {
    let mut stream = BufReader::new(stream);
    let request = message(&mut stream).await;
    match fate {
        Fate::Silence => std::future::pending().await,
        Fate::Closed => {}
        Fate::Told(status, body) => {
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status} X\r\nx-testmesh-release: 9.9.9\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        Fate::Lossy(server) => {
            let mut server = BufReader::new(TcpStream::connect(server.trim_start_matches("http://")).await.unwrap());
            server.write_all(&request).await.unwrap();
            let answer = message(&mut server).await;
            if number % 2 == 1 {
                stream.write_all(&answer).await.unwrap();
            }
        }
    }
}

/// One request or answer, head and body.
async fn message(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).await.unwrap() > 0, "the connection closed in {head:?}");
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    [head.into_bytes(), body].concat()
}
