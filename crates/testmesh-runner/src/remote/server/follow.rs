//! The events of a run on their way out: what is there at the same time in one message, and a word why they end early.

use futures::StreamExt;
use futures::stream::{self, BoxStream, ReadyChunks};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::event::{RunEvent, RunEventKind};
use crate::remote::wire::{self, EVENTS, EventParts, proto};

struct Telling {
    events: ReadyChunks<BoxStream<'static, RunEvent>>,
    ready: EventParts,
    /// Nothing follows, and whoever follows knows it.
    over: bool,
    stopping: CancellationToken,
    closing: CancellationToken,
}

/// Tells `events`. When they end before the run because this process stops, whoever follows is told to go elsewhere.
pub(super) fn tell(
    events: BoxStream<'static, RunEvent>,
    stopping: CancellationToken,
    closing: CancellationToken,
) -> BoxStream<'static, Result<proto::Events, Status>> {
    let events = events.ready_chunks(EVENTS);
    let telling = Telling { events, ready: EventParts::new(Vec::new()), over: false, stopping, closing };
    stream::unfold(telling, async |mut telling| {
        let part = telling.next().await?;
        Some((part, telling))
    })
    .boxed()
}

impl Telling {
    async fn next(&mut self) -> Option<Result<proto::Events, Status>> {
        loop {
            if let Some(part) = self.ready.next() {
                return Some(part);
            }
            if self.over {
                return None;
            }
            // Both are cancel-safe: a chunk that is not complete stays in the stream.
            let chunk = tokio::select! {
                chunk = self.events.next() => chunk,
                () = self.closing.cancelled() => return Some(self.end_early()),
            };
            match chunk {
                Some(events) => {
                    self.over = events.iter().any(|event| matches!(event.kind, RunEventKind::Finished { .. }));
                    self.ready = EventParts::new(events);
                }
                None if self.stopping.is_cancelled() => return Some(self.end_early()),
                None => return None,
            }
        }
    }

    fn end_early(&mut self) -> Result<proto::Events, Status> {
        self.over = true;
        Err(wire::stopping())
    }
}
