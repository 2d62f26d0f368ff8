//! Interrupts: Ctrl-C, and SIGTERM where there are signals.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for interrupts from its making on.
pub(super) struct Interrupts {
    /// Those that could be subscribed to; without any the system's own handling stays.
    #[cfg(unix)]
    signals: Vec<Signal>,
}

impl Interrupts {
    #[cfg(unix)]
    pub(super) fn listen() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        Self { signals: kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect() }
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> Self {
        Self {}
    }

    /// Waits for the next interrupt.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        if self.signals.is_empty() {
            return std::future::pending().await;
        }
        // Cancel-safe per docs on `recv()`.
        futures::future::select_all(self.signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }

    /// Waits for the next interrupt.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
