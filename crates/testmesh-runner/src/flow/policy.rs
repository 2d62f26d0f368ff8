//! Decodes what happens around a step: `retry`, `poll`, `on_error`.

use super::facts::{Fact, Names};
use super::reader::{Decoder, Section, place};
use super::scalar::Literal;
use super::yaml::{Entry, NodeKind};
use super::{Backoff, OnError, Poll, Retry, Step};
use crate::diagnostic::Code;

/// The keys of `retry`; of several spellings the first is the one of the documentation.
const RETRY_KEYS: &[&str] =
    &["max_attempts", "attempts", "delay", "initial_delay", "interval", "backoff", "max_delay", "jitter", "retry_on"];
/// The keys of `poll`.
const POLL_KEYS: &[&str] =
    &["until", "condition", "success_condition", "fail_when", "interval", "delay", "backoff", "timeout"];
/// The most attempts of a step.
pub(crate) const MAX_ATTEMPTS: i64 = 20;

const BACKOFF: &[(&str, Backoff)] = &[
    ("fixed", Backoff::Fixed),
    ("linear", Backoff::Linear),
    ("exponential", Backoff::Exponential),
    ("constant", Backoff::Fixed),
];

/// What a word for `on_error` means: whether the flow goes on.
const ON_ERROR: &[(&str, bool)] = &[("fail", false), ("continue", true), ("ignore", true)];

impl<'t> Decoder<'t, '_> {
    /// `retry`: a map, or the number of attempts alone.
    pub(crate) fn retry(&mut self, entry: &Entry<'t>) -> Option<Retry> {
        let mut retry = Retry {
            max_attempts: 3,
            delay: std::time::Duration::from_secs(1),
            backoff: Backoff::Fixed,
            max_delay: std::time::Duration::from_secs(30),
            jitter: false,
            retry_on: None,
        };
        if matches!(entry.value.scalar().map(|scalar| scalar.literal), Some(Literal::Int(_))) {
            retry.max_attempts = self.attempts(entry)?;
            return Some(retry);
        }
        let section = self.section(entry, "`retry`")?;
        self.unknown_keys(&section, RETRY_KEYS);
        if let Some(attempts) = section.any(&["max_attempts", "attempts"]) {
            retry.max_attempts = self.attempts(attempts).unwrap_or(1);
        } else {
            let help = "add `max_attempts:`, the first attempt included".to_owned();
            self.findings.error(Code::MissingKey, entry.key_span, "`retry` has no `max_attempts`").help(help);
        }
        if let Some(delay) = section.any(&["delay", "initial_delay", "interval"]).and_then(|e| self.duration(e, false))
        {
            retry.delay = delay;
        }
        if let Some(delay) = section.entry("max_delay").and_then(|entry| self.duration(entry, false)) {
            retry.max_delay = delay;
        }
        if let Some(backoff) = section.entry("backoff").and_then(|entry| self.choice(entry, BACKOFF)) {
            retry.backoff = backoff;
        }
        retry.jitter = self.boolean(&section, "jitter").unwrap_or(false);
        retry.retry_on = section.set("retry_on").and_then(|entry| self.expression_of(entry));
        Some(retry)
    }

    fn attempts(&mut self, entry: &Entry<'t>) -> Option<u32> {
        self.integer(entry, 1..=MAX_ATTEMPTS).and_then(|attempts| u32::try_from(attempts).ok())
    }

    /// `poll`.
    pub(crate) fn poll(&mut self, entry: &Entry<'t>) -> Option<Poll> {
        let section = self.section(entry, "`poll`")?;
        self.unknown_keys(&section, POLL_KEYS);
        let until = section.any(&["until", "condition", "success_condition"]).filter(|until| !until.value.is_null());
        if until.is_none() {
            let help = "add `until:` with an expression that ends the polling, such as `status == 200`".to_owned();
            self.findings.error(Code::MissingKey, entry.key_span, "`poll` has no `until`").help(help);
        }
        let until = until.and_then(|until| self.expression_of(until));
        let fail_when = section.set("fail_when").and_then(|entry| self.expression_of(entry));
        let interval = section.any(&["interval", "delay"]).and_then(|entry| self.duration(entry, false));
        let timeout = section.entry("timeout").and_then(|entry| self.duration(entry, false));
        let backoff = section.entry("backoff").and_then(|entry| self.choice(entry, BACKOFF));
        Some(Poll {
            until: until?,
            fail_when,
            interval: interval.unwrap_or(std::time::Duration::from_secs(1)),
            backoff: backoff.unwrap_or(Backoff::Fixed),
            timeout: timeout.unwrap_or(std::time::Duration::from_secs(30)),
        })
    }

    /// `on_error`: a word, steps, or a map of both.
    pub(crate) fn on_error(&mut self, step: &Section<'_, 't>, id: &str) -> OnError {
        let Some(entry) = step.set("on_error") else { return OnError::Fail };
        match &entry.value.kind {
            NodeKind::Scalar(_) => match self.choice(entry, ON_ERROR) {
                Some(true) => OnError::Continue,
                Some(false) | None => OnError::Fail,
            },
            NodeKind::List(_) => OnError::Handle { steps: self.handler(entry, id), tolerate: false },
            NodeKind::Map(entries) => {
                let section = Section { entries, what: "`on_error`" };
                self.unknown_keys(&section, &["action", "steps"]);
                let tolerate = section.entry("action").and_then(|word| self.choice(word, ON_ERROR)).unwrap_or(false);
                match section.entry("steps") {
                    Some(steps) => OnError::Handle { steps: self.handler(steps, id), tolerate },
                    None if section.entry("action").is_some() && tolerate => OnError::Continue,
                    None if section.entry("action").is_some() => OnError::Fail,
                    None => {
                        let help = "write `fail`, `continue`, or `{action: continue, steps: […]}`".to_owned();
                        self.findings.error(Code::MissingKey, place(entry), "`on_error` has no `action`").help(help);
                        OnError::Fail
                    }
                }
            }
        }
    }

    fn handler(&mut self, entry: &Entry<'t>, id: &str) -> Vec<Step> {
        self.facts.push(Fact::Open(Names { fixed: &["error"], ..Names::default() }));
        self.depth += 1;
        let steps = self.steps(entry, Some(&format!("{id}_on_error")));
        self.depth -= 1;
        self.facts.push(Fact::Close);
        steps
    }
}
