//! Decodes `background` and `await`: which step arms what, and which one collects it.

use super::reader::{Decoder, Section, place};
use super::source::Span;
use super::step::Known;
use super::suggest;
use super::{Awaits, Step};
use crate::action::ActionSpec;
use crate::actions;
use crate::diagnostic::Code;

/// Keys that look at a result, which an armed step does not have yet.
const OF_THE_RESULT: &[&str] = &["assert", "assert_any", "assert_none", "output", "poll"];
/// Keys that would collect again.
const AGAIN: &[&str] = &["background", "poll", "retry"];

/// A step with `background: true`.
#[derive(Debug)]
pub(crate) struct Armed {
    id: String,
    action: &'static str,
    spec: &'static ActionSpec,
    /// Where it says so.
    span: Span,
    /// The lists of steps around the first step that awaits it, and that step's line.
    awaited: Option<(Vec<usize>, u32)>,
}

/// What a step awaits.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// This one, with the result of this action.
    Armed { awaits: Awaits, spec: &'static ActionSpec },
    /// Something that is not there; this was reported.
    Nothing,
}

impl Awaited {
    /// Whose result the step has.
    pub(crate) fn judged<'n>(&self) -> Known<'n> {
        match self {
            Awaited::Armed { spec, .. } => Known::Here(spec),
            Awaited::Nothing => Known::Not("await"),
        }
    }

    /// For the step.
    pub(crate) fn into_step(self) -> Option<Awaits> {
        match self {
            Awaited::Armed { awaits, .. } => Some(awaits),
            Awaited::Nothing => None,
        }
    }
}

impl<'t> Decoder<'t, '_> {
    /// What a step awaits, by `await` or the configuration of the action; `None` when it awaits nothing.
    pub(crate) fn awaits(&mut self, section: &Section<'_, 't>, known: Known<'_>) -> Option<Awaited> {
        let is_await = matches!(known, Known::Here(spec) if spec.name == actions::awaiting().spec().name);
        let short = section.set("await");
        if let (Some(entry), false) = (short, is_await) {
            let message = "`await` stands in the place of `action`, not beside it";
            let help = "make it a step of its own: `- await: ID`".to_owned();
            self.findings.error(Code::InvalidValue, entry.key_span, message).help(help);
            return None;
        }
        if !is_await {
            return None;
        }
        let configured = section.entry("config").and_then(|config| config.value.entries()).unwrap_or_default();
        let configured = Section { entries: configured, what: "this action's `config`" };
        let Some(entry) = short.or_else(|| configured.any(&["step", "id"])) else {
            let at = section.entry("action").map_or(Span::new(0, 0), place);
            let help = "write `await: ID` with the id of a step that has `background: true`".to_owned();
            self.findings.error(Code::MissingKey, at, "`await` names no step").help(help);
            return Some(Awaited::Nothing);
        };
        for key in AGAIN {
            if let Some(entry) = section.set(key) {
                let message = format!("`{key}` has no place beside `await`: what was armed is collected once");
                let help = format!("put `{key}` on the step that is awaited, or leave it out");
                self.findings.error(Code::InvalidValue, entry.key_span, message).help(help);
            }
        }
        let Some(id) = entry.value.named() else {
            self.wrong_type(entry, "the id of a step").help(None);
            return Some(Awaited::Nothing);
        };
        let line = self.findings.source.line(entry.key_span.start);
        Some(self.awaited(&id, place(entry), line))
    }

    fn awaited(&mut self, id: &str, span: Span, line: u32) -> Awaited {
        let lists = self.phase.lists.clone();
        let Some(armed) = self.phase.armed.iter_mut().find(|armed| armed.id == id) else {
            self.await_unknown(id, span);
            return Awaited::Nothing;
        };
        let awaits = Awaits { id: armed.id.clone(), action: armed.action };
        let spec = armed.spec;
        match &armed.awaited {
            // The first one surely ran before this one.
            Some((first, line)) if lists.starts_with(first) => {
                let message = format!("`{id}` was awaited on line {line} already");
                let help = "an expectation is collected once: look at the result of the first `await`".to_owned();
                self.findings.error(Code::AwaitedTwice, span, message).help(help);
            }
            Some(_) => {}
            None => armed.awaited = Some((lists, line)),
        }
        Awaited::Armed { awaits, spec }
    }

    fn await_unknown(&mut self, id: &str, span: Span) {
        let (message, help) = if let Some(line) = self.phase.ids.get(id) {
            let help = "give that step `background: true`".to_owned();
            (format!("`{id}` on line {line} is not in the background"), Some(help))
        } else {
            let near = suggest::near(id, self.phase.armed.iter().map(|armed| armed.id.as_str()));
            let help = "an expectation is awaited in the phase that armed it, by a later step".to_owned();
            let message = format!("no step before this one in `{}` arms `{id}`", self.phase.name);
            (message, suggest::did_you_mean(&near).or(Some(help)))
        };
        self.findings.error(Code::AwaitUnknown, span, message).help(help);
    }

    /// Notes a step with `background: true`, and what cannot be so about it.
    pub(crate) fn armed(&mut self, section: &Section<'_, 't>, step: &Step) {
        let Some(entry) = section.set("background").filter(|_| step.background && step.awaits.is_none()) else {
            return;
        };
        let action = actions::find(step.action);
        let Some((action, arm)) = action.and_then(|action| Some((action, action.arms()?))) else {
            let able = actions::registry().iter().filter(|action| action.arms().is_some());
            let names: Vec<&str> = able.map(|action| action.spec().name).collect();
            let message = format!("`{}` waits for nothing that could be awaited later", step.action);
            let help = format!("the actions that can be in the background are {}", suggest::quoted(&names));
            self.findings.error(Code::InvalidValue, entry.key_span, message).help(help);
            return;
        };
        let mut awaited = None;
        if let Some(reason) = arm.refuses(step) {
            // One finding is enough.
            awaited = Some((vec![usize::MAX], step.line));
            let message = format!("this step cannot be in the background: {reason}");
            self.findings.error(Code::InvalidValue, entry.key_span, message).help(None);
        }
        for key in OF_THE_RESULT {
            if let Some(entry) = section.set(key) {
                let message = format!("`{key}` has no place in a step in the background: its result is not there yet");
                let help = format!("move `{key}` to the step with `await: {}`", step.id);
                self.findings.error(Code::InvalidValue, entry.key_span, message).help(help);
            }
        }
        let (id, spec) = (step.id.clone(), action.spec());
        self.phase.armed.push(Armed { id, action: step.action, spec, span: entry.key_span, awaited });
    }

    /// Reports what the phase armed and did not await.
    pub(crate) fn never_awaited(&mut self) {
        for armed in std::mem::take(&mut self.phase.armed) {
            if armed.awaited.is_none() {
                let message = format!("nothing awaits `{}`: what comes is not looked at", armed.id);
                let help = format!("add a later step `- await: {}` to `{}`", armed.id, self.phase.name);
                self.findings.warning(Code::NeverAwaited, armed.span, message).help(help);
            }
        }
    }
}
