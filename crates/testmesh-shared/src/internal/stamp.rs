//! Credentials, trace and time on every call of a client that is not ours, such as a generated gRPC client.

use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use tower_service::Service;

use super::Credentials;

/// A client's transport, such as a gRPC channel, that [stamps](Credentials::stamp) every request.
#[derive(Debug, Clone)]
pub struct Stamped<S> {
    inner: S,
    credentials: Credentials,
    time: Option<Duration>,
}

impl<S> Stamped<S> {
    /// Calls over `inner`, which end after `time`; `None` for streams.
    pub fn new(inner: S, credentials: Credentials, time: Option<Duration>) -> Self {
        Self { inner, credentials, time }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Stamped<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        self.credentials.stamp(request.headers_mut(), self.time);
        self.inner.call(request)
    }
}
