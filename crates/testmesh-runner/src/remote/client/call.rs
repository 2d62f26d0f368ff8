//! One call: made at one runner, and where it gets no answer there, at others, for as long as it makes sense.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testmesh_shared::internal::CallContext;
use tonic::{Code, Status};

use super::peer::Channel;
use super::pool::{Lease, Pool, jittered};
use crate::remote::wire::proto::failure::Kind;
use crate::remote::wire::proto::runner_client::RunnerClient;
use crate::remote::wire::{Failed, MESSAGE_BYTES, failure_of};

/// The first pause after every runner was asked, and the longest; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How long others are asked first after a runner gave no answer.
const SHUN_BROKEN: Duration = Duration::from_secs(1);
/// How long others are asked first after a runner said that it stops.
const SHUN_STOPPING: Duration = Duration::from_secs(5);
/// A call that went on for so long before it broke starts with new patience.
const SOUND: Duration = Duration::from_secs(1);

/// The generated client on a connection of this pool.
pub(super) type Client = RunnerClient<Channel>;

/// How hard to try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// For the call with all its repetitions.
    pub(super) time: Duration,
    /// How long to go on while no runner answers.
    pub(super) patience: Duration,
    /// The answer is a stream that may last: the runner is not told when to end.
    pub(super) lasts: bool,
}

/// An answer, and whose it is.
pub(super) struct Answered<T> {
    pub(super) answer: T,
    pub(super) lease: Lease,
}

/// No runner answered in time.
#[derive(Debug, thiserror::Error)]
#[error("no runner answered within {} ms", time.as_millis())]
struct TimedOut {
    time: Duration,
}

/// There is no connection to any runner.
#[derive(Debug, thiserror::Error)]
#[error("no runner is connected ({trouble})")]
struct Unconnected {
    trouble: String,
}

/// What a status says about the next attempt.
enum Verdict {
    /// Another runner would say the same.
    Final(Failed),
    /// Another runner may do better; this one is not asked first for a while.
    Elsewhere(Failed, Duration),
}

impl Pool {
    /// Makes a call at one runner after the other until one answers: `attempt` is made again after a connection that
    /// broke, which every method allows.
    pub(super) async fn call<T, F, A>(
        &self,
        effort: Effort,
        preferred: Option<SocketAddr>,
        attempt: F,
    ) -> Result<Answered<T>, Failed>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<T, Status>>,
    {
        // One context for all attempts, so that they share the request id and the trace.
        let context = CallContext::current().unwrap_or_else(CallContext::generate);
        let left = context.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let effort = Effort { time: left.map_or(effort.time, |left| left.min(effort.time)), ..effort };
        context.scope(self.attempts(effort, preferred, attempt)).await
    }

    async fn attempts<T, F, A>(
        &self,
        effort: Effort,
        preferred: Option<SocketAddr>,
        attempt: F,
    ) -> Result<Answered<T>, Failed>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<T, Status>>,
    {
        let started = Instant::now();
        let mut tries = Tries { tried: Vec::new(), last: None, since: None, pause: PAUSES.0 };
        loop {
            let left = effort.time.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(tries.last.unwrap_or_else(|| timed_out(effort.time)));
            }
            let Some(lease) = self.lease(preferred, &tries.tried) else {
                self.next_round(&mut tries, effort, left).await?;
                continue;
            };
            let began = Instant::now();
            let time = if effort.lasts { None } else { Some(left) };
            let client = RunnerClient::with_origin(lease.channel(time), lease.peer().origin())
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES);
            let failed = match tokio::time::timeout(left, attempt(client)).await {
                Ok(Ok(answer)) => return Ok(Answered { answer, lease }),
                Ok(Err(status)) => match judge(status) {
                    Verdict::Final(failed) => return Err(failed),
                    Verdict::Elsewhere(failed, shun) => {
                        lease.peer().shun(shun);
                        failed
                    }
                },
                Err(_) => return Err(timed_out(effort.time)),
            };
            if began.elapsed() > SOUND {
                tries.since = None;
            }
            tries.since.get_or_insert_with(Instant::now);
            tries.tried.push(lease.address());
            tries.last = Some(failed);
        }
    }

    /// Waits before all runners are asked again, or gives up.
    async fn next_round(&self, tries: &mut Tries, effort: Effort, left: Duration) -> Result<(), Failed> {
        let since = *tries.since.get_or_insert_with(Instant::now);
        let patience = effort.patience.saturating_sub(since.elapsed()).min(left);
        match tries.last.take() {
            // All of them said so.
            Some(said @ Failed::Said(_)) if !is_stopping(&said) => return Err(said),
            Some(last) if patience.is_zero() => return Err(last),
            None if patience.is_zero() => {
                let trouble = self.note().unwrap_or_else(|| "none was found yet".to_owned());
                return Err(Failed::Unanswered(Unconnected { trouble }.into()));
            }
            last => tries.last = last,
        }
        if tries.tried.is_empty() {
            self.connected(patience).await;
        } else {
            tokio::time::sleep(jittered(tries.pause).min(patience)).await;
            tries.pause = (tries.pause * 2).min(PAUSES.1);
            tries.tried.clear();
        }
        Ok(())
    }
}

/// What came of a call so far.
struct Tries {
    /// Asked in this round.
    tried: Vec<SocketAddr>,
    last: Option<Failed>,
    /// Since when there was no answer.
    since: Option<Instant>,
    pause: Duration,
}

fn is_stopping(failed: &Failed) -> bool {
    matches!(failed, Failed::Said(Kind::Stopping(_)))
}

fn timed_out(time: Duration) -> Failed {
    Failed::Unanswered(TimedOut { time }.into())
}

fn judge(status: Status) -> Verdict {
    match failure_of(&status) {
        Some(kind @ Kind::Stopping(_)) => Verdict::Elsewhere(Failed::Said(kind), SHUN_STOPPING),
        // Another runner may have room, or reach its database.
        Some(kind @ (Kind::Overloaded(_) | Kind::Executions(_) | Kind::Flows(_))) => {
            Verdict::Elsewhere(Failed::Said(kind), SHUN_BROKEN)
        }
        Some(kind) => Verdict::Final(Failed::Said(kind)),
        None => match status.code() {
            // Said by the gate or the protocol, about the call and not about the runner.
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::DeadlineExceeded => Verdict::Final(Failed::Unanswered(status.into())),
            _ => Verdict::Elsewhere(Failed::Unanswered(status.into()), SHUN_BROKEN),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::SubmitError;
    use crate::remote::wire;

    #[test]
    fn another_runner_is_asked_only_where_it_may_do_better() {
        let check = |status: Status, elsewhere: bool| {
            let shown = format!("{status:?}");
            assert_eq!(matches!(judge(status), Verdict::Elsewhere(..)), elsewhere, "{shown}");
        };
        check(Status::unknown("the connection broke"), true);
        check(Status::unavailable("a proxy on the way"), true);
        check(Status::unimplemented("a runner of the release before"), true);
        check(Status::internal("a fault"), true);
        check(Status::unauthenticated("the wrong token"), false);
        check(Status::out_of_range("too large"), false);
        check(Status::deadline_exceeded("too late"), false);
        check(wire::stopping(), true);
        check(wire::submit_status(&SubmitError::Overloaded(1)), true);
        check(wire::submit_status(&SubmitError::DataDriven), false);
        check(wire::submit_status(&SubmitError::SuiteNotFound("none".to_owned())), false);
        check(wire::execution_not_found(), false);
    }
}
