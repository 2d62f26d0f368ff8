//! Connections that wait for their next request.
//!
//! An HTTP/1 connection is here only between two requests; an HTTP/2 connection stays while requests share it. Only
//! requests that go the same way meet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{Request, Response, Uri};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use parking_lot::Mutex;

use super::connect::Route;
use super::{ConnectionOptions, Shared};

/// Servers close idle connections after 5 to 75 seconds, as a rule; older ones are more trouble than gain.
const LONGEST_IDLE: Duration = Duration::from_secs(90);
/// Idle connections kept for one target.
const MOST_IDLE: usize = 64;
/// How long a connection may take to finish with its last request before another one is made.
const SETTLING: Duration = Duration::from_millis(50);

/// The sending half of a connection.
#[derive(Debug)]
pub(super) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        match self {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// Whether it takes a request now or in a moment.
    async fn is_usable(&mut self) -> bool {
        match self {
            Sender::Http1(sender) if sender.is_ready() => true,
            // Its task has yet to notice that the last answer was read, or that the server hung up; an early answer to
            // a request that is still being sent can take long.
            Sender::Http1(sender) => matches!(tokio::time::timeout(SETTLING, sender.ready()).await, Ok(Ok(()))),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    route: Arc<Route>,
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    peer: SocketAddr,
    since: Instant,
}

impl Pool {
    /// The way that earlier requests like this one went.
    pub(super) fn route(&self, uri: &Uri, options: &ConnectionOptions) -> Option<Arc<Route>> {
        let entries = self.entries.lock();
        let known = entries.iter().find(|entry| entry.route.leads_to(uri, options))?;
        Some(Arc::clone(&known.route))
    }

    /// A connection that takes a request, the most recently used first.
    pub(super) async fn take(&self, route: &Arc<Route>) -> Option<(Sender, SocketAddr)> {
        loop {
            let (mut sender, peer) = self.pop(route)?;
            if sender.is_usable().await {
                return Some((sender, peer));
            }
        }
    }

    fn pop(&self, route: &Arc<Route>) -> Option<(Sender, SocketAddr)> {
        let mut entries = self.entries.lock();
        let entry = entries.iter_mut().find(|entry| entry.route.is(route))?;
        while let Some(mut idle) = entry.idle.pop() {
            if idle.sender.is_closed() || idle.since.elapsed() > LONGEST_IDLE {
                continue;
            }
            let peer = idle.peer;
            return match idle.sender {
                Sender::Http1(_) => Some((idle.sender, peer)),
                Sender::Http2(ref sender) => {
                    let shared = Sender::Http2(sender.clone());
                    idle.since = Instant::now();
                    entry.idle.push(idle);
                    Some((shared, peer))
                }
            };
        }
        None
    }

    /// Keeps a connection for later, or lets it end.
    pub(super) fn put(&self, sender: Sender, peer: SocketAddr, route: &Arc<Route>) {
        if sender.is_closed() {
            return;
        }
        let mut entries = self.entries.lock();
        let idle = Idle { sender, peer, since: Instant::now() };
        if let Some(entry) = entries.iter_mut().find(|entry| entry.route.is(route)) {
            entry.idle.retain(|idle| !idle.sender.is_closed());
            let shared_already = entry.idle.iter().any(|idle| matches!(idle.sender, Sender::Http2(_)));
            if entry.idle.len() < MOST_IDLE && !shared_already {
                entry.idle.push(idle);
            }
        } else {
            entries.retain(|entry| entry.idle.iter().any(|idle| idle.since.elapsed() <= LONGEST_IDLE));
            entries.push(Entry { route: Arc::clone(route), idle: vec![idle] });
        }
    }
}

/// A connection in use. Dropped, it ends the connection; given back, it waits in the pool.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    sender: Sender,
    peer: SocketAddr,
    route: Arc<Route>,
}

impl Lease {
    pub(super) fn new(shared: Arc<Shared>, sender: Sender, peer: SocketAddr, route: Arc<Route>) -> Self {
        Self { shared, sender, peer, route }
    }

    pub(super) fn give_back(self) {
        // HTTP/2 connections were put there when they were made.
        if matches!(self.sender, Sender::Http1(_)) {
            self.shared.pool.put(self.sender, self.peer, &self.route);
        }
    }
}
