//! A connection with what came in and what is to go out. Nothing is lost when a future that reads or writes is dropped.

use bytes::{Buf, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{PeerError, Socket};

/// Bytes that the buffer has room for before more is read.
const PART: usize = 16 << 10;

/// A connection with its buffers.
pub(in crate::actions) struct Wire {
    pub(in crate::actions) socket: Socket,
    /// What came and was not understood yet.
    pub(in crate::actions) input: BytesMut,
    /// What is to be sent.
    pub(in crate::actions) out: BytesMut,
}

impl Wire {
    pub(in crate::actions) fn new(socket: Socket) -> Self {
        Self { socket, input: BytesMut::new(), out: BytesMut::new() }
    }

    /// Sends what is to be sent.
    pub(in crate::actions) async fn flush(&mut self) -> Result<(), PeerError> {
        while self.out.has_remaining() {
            if self.socket.write_buf(&mut self.out).await? == 0 {
                return Err(PeerError::closed());
            }
        }
        Ok(self.socket.flush().await?)
    }

    /// Waits until more has come.
    pub(in crate::actions) async fn fill(&mut self) -> Result<(), PeerError> {
        self.input.reserve(PART);
        if self.socket.read_buf(&mut self.input).await? == 0 {
            return Err(PeerError::closed());
        }
        Ok(())
    }

    /// Takes in what has come already. Whether the other side is still there.
    pub(in crate::actions) fn glance(&mut self) -> bool {
        loop {
            match self.fill().now_or_never() {
                None => return true,
                Some(Ok(())) => {}
                Some(Err(_)) => return false,
            }
        }
    }
}
