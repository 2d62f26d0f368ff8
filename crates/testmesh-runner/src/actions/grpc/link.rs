//! HTTP/2 as calls use it. What a call has to say at its beginning leaves in one write, headers and messages together:
//! a server is woken once for it, and not a second time for what it was already waiting for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::{poll_fn, poll_immediate};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;

/// Bytes of the headers and trailers of an answer.
const HEADERS: u32 = 64 << 10;
/// Bytes that a server may send of one answer before it is told that they were read.
const STREAM_WINDOW: u32 = 2 << 20;
/// The same for all answers together.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// A connection, as many calls share it.
#[derive(Clone)]
pub(super) struct Link {
    requests: SendRequest<Bytes>,
    tasks: Tasks,
}

impl Link {
    /// Greets the server; the connection itself becomes one of `tasks`.
    pub(super) async fn over<S>(stream: S, tasks: &Tasks) -> Result<Self, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (requests, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADERS)
            .handshake(stream)
            .await?;
        let cancel = tasks.cancelled().clone();
        tasks.spawn(async move {
            // The calls that the connection fails get the error themselves.
            let _ = cancel.run_until_cancelled(connection).await;
        });
        Ok(Self { requests, tasks: tasks.clone() })
    }

    /// Whether it takes calls, as far as this side knows.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|cx| self.requests.poll_ready(cx)).await.is_ok()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(mut self, request: Request<Body>) -> Result<Response<Answer>, h2::Error> {
        let (head, body) = request.into_parts();
        poll_fn(|cx| self.requests.poll_ready(cx)).await?;
        let (answer, up) = self.requests.send_request(Request::from_parts(head, ()), false)?;
        // Without a wait in between: the connection, which writes, finds both. On a runtime of several threads it may be
        // quicker, and then it writes twice.
        let mut uploading = Box::pin(upload(body, up));
        if poll_immediate(&mut uploading).await.is_none() {
            let cancel = self.tasks.cancelled().clone();
            self.tasks.spawn(async move {
                let _ = cancel.run_until_cancelled(uploading).await;
            });
        }
        Ok(answer.await?.map(Answer))
    }
}

/// Sends the messages of a call. Whether the server wants them is told by its answer, not here. They are all in memory
/// already, so nothing is gained by waiting for room on the connection: what has none yet is kept there.
async fn upload(mut body: Body, mut up: SendStream<Bytes>) {
    let mut held: Option<Bytes> = None;
    loop {
        // The last message says that it is the last: it is held until it is known whether another one follows.
        let next = match (poll_immediate(body.frame()).await, held.take()) {
            (Some(next), before) => {
                held = before;
                next
            }
            (None, Some(before)) => {
                if up.send_data(before, false).is_err() {
                    return;
                }
                body.frame().await
            }
            (None, None) => body.frame().await,
        };
        match next {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if let Some(before) = held.replace(data)
                    && up.send_data(before, false).is_err()
                {
                    return;
                }
            }
            Some(Err(_)) => return up.send_reset(h2::Reason::CANCEL),
            None => {
                let _ = up.send_data(held.unwrap_or_default(), true);
                return;
            }
        }
    }
}

/// What a server says to one call, after the head.
pub(super) struct Answer(RecvStream);

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = ready!(self.0.poll_data(cx)) {
            let data = data?;
            // It is read: the server may send as much again.
            self.0.flow_control().release_capacity(data.len())?;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.0.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
