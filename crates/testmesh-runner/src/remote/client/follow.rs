//! The events of a run from whichever runner tells them: where one stops, another goes on after the last event.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream, StreamExt};
use testmesh_shared::ids::ExecutionId;
use testmesh_shared::internal::CallContext;
use tonic::Streaming;

use super::call::{Answered, Client, Effort};
use super::pool::{Pool, jittered};
use super::{FOLLOW, PATIENCE};
use crate::event::{RunEvent, RunEventKind};
use crate::executor::recorder::chain;
use crate::remote::wire::proto::{self, failure::Kind};
use crate::remote::wire::{Failed, read_events};

/// The first pause after a stream that broke without an event, and the longest; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How long others are asked first after a stream that broke; one that lasted longer starts with new patience.
const SHUN: Duration = Duration::from_secs(1);

struct Following {
    pool: Arc<Pool>,
    id: ExecutionId,
    preferred: Option<SocketAddr>,
    /// Of whoever asked first: later streams are opened for them too.
    context: CallContext,
    open: Option<Open>,
    /// The last event that was given out or is in `ready`.
    last: u64,
    ready: VecDeque<RunEvent>,
    ended: bool,
    /// When the stream that is open was opened.
    opened: Instant,
    /// Since when nothing has come.
    broken: Option<Instant>,
    pause: Duration,
}

type Open = Answered<Streaming<proto::Events>>;

/// The events of `id` after `after`, those to come too. `None`: no such execution.
pub(super) async fn follow(
    pool: Arc<Pool>,
    id: ExecutionId,
    after: u64,
    effort: Effort,
    preferred: Option<SocketAddr>,
) -> Result<Option<BoxStream<'static, RunEvent>>, Failed> {
    // The stream outlives the request that asked for it.
    let context = CallContext { deadline: None, ..CallContext::current().unwrap_or_else(CallContext::generate) };
    let opening = open(&pool, id, after, effort, preferred);
    let Some(open) = context.clone().scope(opening).await? else { return Ok(None) };
    let following = Following {
        pool,
        id,
        preferred,
        context,
        open: Some(open),
        last: after,
        ready: VecDeque::new(),
        ended: false,
        opened: Instant::now(),
        broken: None,
        pause: PAUSES.0,
    };
    let events = stream::unfold(following, async |mut following| {
        let event = following.next().await?;
        Some((event, following))
    });
    Ok(Some(events.boxed()))
}

async fn open(
    pool: &Pool,
    id: ExecutionId,
    after: u64,
    effort: Effort,
    preferred: Option<SocketAddr>,
) -> Result<Option<Open>, Failed> {
    let open = |mut client: Client| async move {
        let request = proto::EventsRequest { id: id.to_string(), after };
        Ok(client.follow(request).await?.into_inner())
    };
    match pool.call(effort, preferred, open).await {
        Ok(answered) => Ok(Some(answered)),
        Err(Failed::Said(Kind::ExecutionNotFound(_))) => Ok(None),
        Err(failed) => Err(failed),
    }
}

impl Following {
    async fn next(&mut self) -> Option<RunEvent> {
        while self.ready.is_empty() && !self.ended {
            self.fetch().await;
        }
        let event = self.ready.pop_front()?;
        if matches!(event.kind, RunEventKind::Finished { .. }) {
            self.ended = true;
            self.ready.clear();
        }
        Some(event)
    }

    /// Gets the next events into `ready`, or opens another stream, or notes that there are none.
    async fn fetch(&mut self) {
        let Some(open) = &mut self.open else { return self.reopen().await };
        match open.answer.message().await {
            Ok(Some(part)) => {
                let last = self.last;
                self.ready.extend(read_events(&part).filter(|event| event.seq > last));
                self.last = part.events.last().map_or(last, |event| event.seq.max(last));
                (self.broken, self.pause) = (None, PAUSES.0);
            }
            Ok(None) => self.ended = true,
            Err(status) => {
                tracing::debug!(execution.id = %self.id, status = %status.message(), "events go on elsewhere");
                open.lease.peer().shun(SHUN);
                self.open = None;
                if self.opened.elapsed() > SHUN {
                    self.broken = None;
                }
                self.broken.get_or_insert_with(Instant::now);
                self.preferred = None;
            }
        }
    }

    async fn reopen(&mut self) {
        let left = PATIENCE.saturating_sub(self.broken.map_or(Duration::ZERO, |since| since.elapsed()));
        // Streams that break at once, one after the other, must not keep this busy.
        tokio::time::sleep(jittered(self.pause).min(left)).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        let effort = Effort { time: FOLLOW.time.max(left), patience: left, ..FOLLOW };
        let opening = open(&self.pool, self.id, self.last, effort, self.preferred);
        match self.context.clone().scope(opening).await {
            Ok(Some(open)) if !left.is_zero() => {
                self.open = Some(open);
                self.opened = Instant::now();
            }
            Ok(_) => self.ended = true,
            Err(failed) => {
                let error = match failed {
                    Failed::Unanswered(error) => chain(&*error),
                    Failed::Said(kind) => format!("{kind:?}"),
                };
                tracing::warn!(execution.id = %self.id, error, "events end early: no runner tells the rest");
                self.ended = true;
            }
        }
    }
}
