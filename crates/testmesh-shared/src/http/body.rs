//! The body of an answer: read piece by piece or into one buffer; its connection is pooled again when it has ended.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::error::HttpError;
use super::pool::Lease;

/// Most memory set aside because an answer says how long it will be: it may say anything.
const LARGEST_RESERVATION: u64 = 256 << 20;

#[derive(Debug)]
pub(super) struct Body {
    incoming: Incoming,
    /// The connection, until the body has ended.
    lease: Option<Lease>,
    started: Instant,
    last_read: Duration,
}

impl Body {
    pub(super) fn new(incoming: Incoming, lease: Lease, started: Instant) -> Self {
        let mut body = Self { incoming, lease: Some(lease), started, last_read: started.elapsed() };
        if body.incoming.is_end_stream() {
            body.end();
        }
        body
    }

    /// From the request's start to the last byte read so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.last_read
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        // The connection is given back at the end; nothing may be read from it after that.
        while self.lease.is_some() {
            match self.incoming.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        self.last_read = self.started.elapsed();
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    self.lease = None;
                    return Err(HttpError::from_hyper(error));
                }
                None => self.end(),
            }
        }
        Ok(None)
    }

    pub(super) async fn collect(&mut self, limit: u64) -> Result<Bytes, HttpError> {
        let announced = self.incoming.size_hint().lower();
        if announced > limit {
            return Err(HttpError::TooLarge { limit });
        }
        let reservation = usize::try_from(announced.min(LARGEST_RESERVATION)).unwrap_or(0);
        let mut buffer = BytesMut::with_capacity(reservation);
        while let Some(chunk) = self.chunk().await? {
            if (buffer.len() + chunk.len()) as u64 > limit {
                return Err(HttpError::TooLarge { limit });
            }
            buffer.extend_from_slice(&chunk);
        }
        Ok(buffer.freeze())
    }

    fn end(&mut self) {
        self.last_read = self.started.elapsed();
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}
