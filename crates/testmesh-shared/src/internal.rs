//! What every call between two processes of TestMesh needs, over HTTP and over gRPC alike.
//!
//! Who calls proves it with a token, a certificate or both ([`Credentials`]); what is called lets nobody else through
//! ([`Gate`]). A call carries its request id, its trace, the time it has left and the caller's release, and is bounded
//! in size, number and time on both sides. Nothing here knows what is asked for.
//!
//! These connections are the server's own: they go past the network policy of flows, which denies these addresses.

mod client;
mod context;
mod credentials;
mod dial;
mod error;
mod follow;
mod gate;
mod refusal;
mod serve;
mod stamp;
mod tls;
mod token;

pub use client::{Answer, Client, ClientLimits, Repeat};
pub use context::CallContext;
pub use credentials::{Credentials, NoCredentials};
pub use dial::{Dialer, InvalidTarget, Socket, Target, Transport};
pub use error::{CallError, WireError};
pub use gate::{Admitted, Gate, GateLayer, GateLimits, Gated};
pub use refusal::{Grpc, Http, Refusal, Render};
pub use serve::serve;
pub use stamp::Stamped;
pub use tls::{InternalTls, TlsError, TlsPem};
pub use token::{InternalToken, TokenError};

/// The setting that names the file of the internal token.
pub const TOKEN_SETTING: &str = "TESTMESH_INTERNAL_TOKEN_FILE";

/// This process's release, as it is told to the other side.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Headers of internal calls.
pub mod header {
    use http::HeaderName;

    /// The id under which both sides log a call.
    pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    /// W3C Trace Context.
    pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
    /// The release of whoever sends it, in requests and answers.
    pub const RELEASE: HeaderName = HeaderName::from_static("x-testmesh-release");
    /// How many milliseconds the caller still waits. Not a time of day: clocks differ.
    pub const TIME_LEFT_MS: HeaderName = HeaderName::from_static("x-testmesh-time-left-ms");
    /// On an answer: the call was turned away before any work, so it can be repeated whatever it was.
    pub const TURNED_AWAY: HeaderName = HeaderName::from_static("x-testmesh-turned-away");
}
