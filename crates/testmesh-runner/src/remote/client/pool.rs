//! The runners there are: found by their names, connected, and chosen for a call.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use http::Uri;
use parking_lot::RwLock;
use testmesh_shared::internal::{Credentials, Dialer};
use testmesh_shared::tasks::Tasks;
use tokio::sync::{Notify, watch};

use super::peer::{Channel, Peer};

/// How often names are resolved again, to find runners that were added.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// The shortest time between two resolutions, however often connections fail.
const RESOLVE_AT_MOST: Duration = Duration::from_secs(1);
/// Time for a resolution.
const RESOLVE: Duration = Duration::from_secs(5);
/// The first pause after a connection that could not be opened, and the longest; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The runners there are.
pub(super) struct Pool {
    dialers: Vec<Arc<Dialer>>,
    credentials: Credentials,
    peers: RwLock<Vec<Arc<Peer>>>,
    /// Names that could not be resolved, and why.
    unresolved: RwLock<Vec<String>>,
    turn: AtomicUsize,
    /// Told of every connection that opens.
    opened: watch::Sender<()>,
    /// Told of every connection that ends or cannot be opened.
    stale: Notify,
    tasks: Tasks,
}

/// A runner that was chosen for a call, which counts among its calls until this is dropped.
pub(super) struct Lease {
    peer: Arc<Peer>,
    channel: Channel,
}

impl Lease {
    pub(super) fn address(&self) -> SocketAddr {
        self.peer.address
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What calls go through; they take at most `time`, if they end at all.
    pub(super) fn channel(&self, time: Option<Duration>) -> Channel {
        Channel { time, ..self.channel.clone() }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.peer.end();
    }
}

impl Pool {
    pub(super) fn open(dialers: Vec<Dialer>, credentials: Credentials) -> Arc<Self> {
        let pool = Arc::new(Self {
            dialers: dialers.into_iter().map(Arc::new).collect(),
            credentials,
            peers: RwLock::default(),
            unresolved: RwLock::default(),
            turn: AtomicUsize::new(0),
            opened: watch::Sender::default(),
            stale: Notify::new(),
            tasks: Tasks::new(),
        });
        let (finding, cancel) = (Arc::clone(&pool), pool.tasks.cancelled().clone());
        pool.tasks.spawn(async move {
            let _ = cancel.run_until_cancelled(finding.find_peers()).await;
        });
        pool
    }

    pub(super) async fn close(&self) {
        self.tasks.shutdown().await;
    }

    /// The runner for a call: `preferred` if it is connected, otherwise the one with the fewest calls among those that
    /// do well; never one of `tried`. None: no other is connected.
    pub(super) fn lease(&self, preferred: Option<SocketAddr>, tried: &[SocketAddr]) -> Option<Lease> {
        let peers = self.peers.read();
        let mut able: Vec<_> = peers
            .iter()
            .filter(|peer| !tried.contains(&peer.address))
            .filter_map(|peer| peer.link().map(|link| (peer, link)))
            .collect();
        if able.is_empty() {
            return None;
        }
        // Equals take turns.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % able.len();
        able.rotate_left(turn);
        let rank = |peer: &Peer| (preferred != Some(peer.address), peer.is_shunned(), peer.in_flight());
        let (peer, link) = able.into_iter().min_by_key(|(peer, _)| rank(peer))?;
        peer.begin();
        let channel = Channel { link, credentials: self.credentials.clone(), time: None };
        Some(Lease { peer: Arc::clone(peer), channel })
    }

    /// Waits until a connection opens, for at most `time`.
    pub(super) async fn connected(&self, time: Duration) {
        let mut opened = self.opened.subscribe();
        if self.peers.read().iter().any(|peer| peer.link().is_some()) {
            return;
        }
        let _ = tokio::time::timeout(time, opened.changed()).await;
    }

    /// What keeps runners from being reached.
    pub(super) fn note(&self) -> Option<String> {
        let unreachable = |peer: &Arc<Peer>| peer.trouble().map(|trouble| format!("`{}`: {trouble}", peer.address));
        let mut notes: Vec<_> = self.peers.read().iter().filter_map(unreachable).collect();
        notes.extend(self.unresolved.read().iter().cloned());
        if notes.is_empty() { None } else { Some(notes.join("; ")) }
    }

    /// Keeps the list of runners true: resolves their names, again and again.
    async fn find_peers(self: Arc<Self>) {
        let mut known: Vec<HashSet<SocketAddr>> = vec![HashSet::new(); self.dialers.len()];
        loop {
            let found = join_all(self.dialers.iter().map(|dialer| resolve(dialer))).await;
            let mut unresolved = Vec::new();
            for (index, found) in found.into_iter().enumerate() {
                match found {
                    Ok(found) => known[index] = found,
                    // Those known before stay.
                    Err(error) => unresolved.push(format!("`{}`: {error}", self.dialers[index].target())),
                }
            }
            *self.unresolved.write() = unresolved;
            self.update(&known);
            tokio::time::sleep(RESOLVE_AT_MOST).await;
            // Both are cancel-safe: they only wait, and a notification that came before is kept.
            tokio::select! {
                () = self.stale.notified() => {}
                () = tokio::time::sleep(RESOLVE_EVERY) => {}
            }
        }
    }

    /// Takes over what each name stands for now. Two names may stand for one runner.
    fn update(self: &Arc<Self>, known: &[HashSet<SocketAddr>]) {
        let mut peers = self.peers.write();
        peers.retain(|peer| {
            let stays = known.iter().any(|addresses| addresses.contains(&peer.address));
            if !stays {
                peer.gone.cancel();
            }
            stays
        });
        for (dialer, addresses) in self.dialers.iter().zip(known) {
            for address in addresses {
                if peers.iter().any(|peer| peer.address == *address) {
                    continue;
                }
                let Some(origin) = origin(dialer) else { continue };
                let peer = Arc::new(Peer::new(*address, origin));
                peers.push(Arc::clone(&peer));
                self.tasks.spawn(Arc::clone(self).keep(peer, Arc::clone(dialer)));
            }
        }
    }

    /// Keeps a runner connected.
    async fn keep(self: Arc<Self>, peer: Arc<Peer>, dialer: Arc<Dialer>) {
        let (first, longest) = PAUSES;
        let mut pause = first;
        loop {
            let opened = || {
                self.opened.send_replace(());
            };
            // Dropping the connection ends its calls, as it should when the pool is closed.
            let held = tokio::select! {
                held = peer.hold(&dialer, &self.tasks, opened) => held,
                () = self.tasks.cancelled().cancelled() => return,
            };
            self.stale.notify_one();
            pause = if held { first } else { (pause * 2).min(longest) };
            // All are cancel-safe: they only wait.
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                () = peer.gone.cancelled() => return,
                () = self.tasks.cancelled().cancelled() => return,
            }
        }
    }
}

/// Half of `pause` to all of it, so that many do not come back at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

fn origin(dialer: &Dialer) -> Option<Uri> {
    dialer.target().to_string().parse().ok()
}

async fn resolve(dialer: &Dialer) -> Result<HashSet<SocketAddr>, String> {
    let target = dialer.target();
    let host = target.host().trim_start_matches('[').trim_end_matches(']');
    match tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, target.port()))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(format!("its name cannot be resolved: {error}")),
        Err(_) => Err(format!("its name was not resolved within {} s", RESOLVE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use testmesh_shared::internal::{InternalToken, Target};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn names_that_change_bring_runners_and_take_them_away() {
        let credentials = Credentials::new(Some(InternalToken::parse(&"x".repeat(32)).unwrap()), None).unwrap();
        let dialer = |url: &str| Dialer::new(Target::parse(url, &credentials).unwrap(), credentials.clone());
        let pool =
            Pool::open(vec![dialer("http://one.invalid:1"), dialer("http://two.invalid:1")], credentials.clone());
        let listeners =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let [a, b] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let addresses = |pool: &Pool| pool.peers.read().iter().map(|peer| peer.address).collect::<HashSet<_>>();
        pool.update(&[HashSet::from([a]), HashSet::from([a, b])]);
        assert_eq!(addresses(&pool), HashSet::from([a, b]));
        let kept = pool.peers.read().iter().find(|peer| peer.address == a).cloned().unwrap();
        // Two names stood for it, and one still does.
        pool.update(&[HashSet::new(), HashSet::from([a])]);
        assert_eq!(addresses(&pool), HashSet::from([a]));
        assert!(!kept.gone.is_cancelled());
        pool.update(&[HashSet::new(), HashSet::new()]);
        assert!(addresses(&pool).is_empty() && kept.gone.is_cancelled());
        pool.update(&[HashSet::from([a]), HashSet::new()]);
        assert_eq!(addresses(&pool), HashSet::from([a]));
        pool.close().await;
    }
}
