//! Decodes steps: ids, action, outputs, and what is known to the steps after them.

use std::borrow::Cow;

use super::armed::Awaited;
use super::facts::{Definer, Definition, Fact, Names};
use super::reader::{Decoder, Section, place};
use super::source::Span;
use super::suggest;
use super::yaml::{Entry, Node, NodeKind};
use super::{Output, OutputSource, Step};
use crate::action::{ActionSpec, StepConfig};
use crate::actions;
use crate::diagnostic::Code;

/// The keys of a step.
pub(crate) const STEP_KEYS: &[&str] = &[
    "id",
    "action",
    "name",
    "description",
    "config",
    "assert",
    "assert_any",
    "assert_none",
    "await",
    "background",
    "output",
    "when",
    "retry",
    "poll",
    "timeout",
    "on_error",
    "disabled",
];

/// The action that plugins are.
pub(crate) const PLUGIN: &str = "plugin";

/// Words of other tools for actions that have another name here.
const SYNONYMS: &[(&str, &str)] = &[
    ("amqp", "amqp_publish"),
    ("amqp", "amqp_consume"),
    ("bash", "exec"),
    ("call", "run_flow"),
    ("command", "exec"),
    ("curl", "http_request"),
    ("db", "database_query"),
    ("echo", "log"),
    ("email", "mail_send"),
    ("email", "mail_wait"),
    ("fetch", "http_request"),
    ("graphql", "http_request"),
    ("include", "run_flow"),
    ("mail", "mail_send"),
    ("mail", "mail_wait"),
    ("mariadb", "database_query"),
    ("mqtt", "mqtt_publish"),
    ("mqtt", "mqtt_subscribe"),
    ("mysql", "database_query"),
    ("nats", "nats_publish"),
    ("nats", "nats_subscribe"),
    ("nats", "nats_request"),
    ("postgres", "database_query"),
    ("postgresql", "database_query"),
    ("print", "log"),
    ("rabbitmq", "amqp_publish"),
    ("rabbitmq", "amqp_consume"),
    ("request", "http_request"),
    ("rest", "http_request"),
    ("script", "exec"),
    ("set", "transform"),
    ("shell", "exec"),
    ("sleep", "delay"),
    ("smtp", "mail_send"),
    ("sqlite", "database_query"),
    ("subflow", "run_flow"),
    ("wait", "delay"),
    ("ws", "websocket"),
];

/// Names in an assertion that mean the step at hand.
pub(crate) const RESULT_ROOTS: &[&str] =
    &["result", "response", "error", "attempt", "attempts", "duration_ms", "iteration"];

/// What is known of a step's action.
#[derive(Clone, Copy)]
pub(crate) enum Known<'n> {
    /// It is here.
    Here(&'static ActionSpec),
    /// It is not (a later release's, or none at all): nothing is known of its configuration and result.
    Not(&'n str),
}

impl<'t> Decoder<'t, '_> {
    /// A list of steps: a phase, or (with the `parent`'s id) nested ones.
    pub(crate) fn steps(&mut self, entry: &Entry<'t>, parent: Option<&str>) -> Vec<Step> {
        if matches!(entry.value.kind, NodeKind::Scalar(_)) && !entry.value.is_null() {
            self.wrong_type(entry, "a list of steps").help(None);
            return Vec::new();
        }
        if self.depth > self.options.limits.nesting {
            let message = format!("steps nest deeper than {}", self.options.limits.nesting);
            let help = "move the inner steps to a flow of their own and use `run_flow`".to_owned();
            self.findings.error(Code::LimitExceeded, entry.key_span, message).help(help);
            return Vec::new();
        }
        let items = Self::items(entry);
        self.phase.n_lists += 1;
        self.phase.lists.push(self.phase.n_lists);
        let mut steps = Vec::with_capacity(items.len().min(self.options.limits.steps));
        for (index, item) in items.iter().enumerate() {
            let phase = self.phase.name;
            steps.extend(self.step(item, &|| format!("{}_{}", parent.unwrap_or(phase), index + 1)));
            self.n_steps += 1;
            if self.n_steps == self.options.limits.steps + 1 {
                let message = format!("the flow has more than {} steps", self.options.limits.steps);
                let help = "split it into several flows".to_owned();
                self.findings.error(Code::LimitExceeded, item.span, message).help(help);
            }
            if self.n_steps > self.options.limits.steps {
                break;
            }
        }
        self.phase.lists.pop();
        steps
    }

    fn step(&mut self, node: &Node<'t>, fallback: &dyn Fn() -> String) -> Option<Step> {
        let Some(entries) = node.entries() else {
            let help = "write `- action: …` with its `config` below".to_owned();
            self.findings
                .error(Code::WrongType, node.span, format!("a step is a map, not {}", node.described()))
                .help(help);
            return None;
        };
        let section = Section { entries, what: "a step" };
        self.unknown_keys(&section, STEP_KEYS);
        let line = self.findings.source.line(node.span.start);
        let id = self.step_id(&section, fallback, line);
        let known = self.action(&section, node.span);
        let awaits = self.awaits(&section, known);
        let judged = awaits.as_ref().map_or(known, Awaited::judged);
        let name = section.set("name").and_then(|entry| self.template_of(entry));
        let description = self.text(&section, "description");
        let when = section.set("when").and_then(|entry| self.expression_of(entry));
        let config = self.step_config(&section, known, &id);
        let own = self.define(&section, judged, &id, line);
        self.facts.push(Fact::Open(own));
        let assert = self.assertions(section.entry("assert"));
        let assert_any = self.assertions(section.entry("assert_any"));
        let assert_none = self.negated_assertions(section.entry("assert_none"));
        let output = self.outputs(&section, &id);
        let retry = section.set("retry").and_then(|entry| self.retry(entry));
        let poll = section.set("poll").and_then(|entry| self.poll(entry));
        let on_error = self.on_error(&section, &id);
        self.facts.push(Fact::Close);
        self.findings_of_action(&section, known);
        let timeout = section.set("timeout").and_then(|entry| self.duration(entry, false));
        let disabled = self.boolean(&section, "disabled").unwrap_or(false);
        let background = self.boolean(&section, "background").unwrap_or(false);
        let Known::Here(spec) = known else { return None };
        let written = section.entry("action").and_then(|entry| entry.value.text());
        let step = Step {
            id: id.into_owned(),
            action: spec.name,
            verb: written.and_then(actions::verb).map(str::to_owned),
            name,
            description,
            config,
            assert,
            assert_any,
            assert_none,
            output,
            when,
            retry,
            poll,
            timeout,
            on_error,
            disabled,
            background,
            awaits: awaits.and_then(Awaited::into_step),
            line,
        };
        self.armed(&section, &step);
        Some(step)
    }

    fn step_id(&mut self, section: &Section<'_, 't>, fallback: &dyn Fn() -> String, line: u32) -> Cow<'t, str> {
        let Some(entry) = section.set("id") else {
            let mut id = fallback();
            while self.phase.ids.contains_key(&*id) {
                id.push('_');
            }
            let id: Cow<'t, str> = Cow::Owned(id);
            self.phase.ids.insert(id.clone(), line);
            return id;
        };
        let Some(id) = entry.value.named() else {
            self.wrong_type(entry, "text").help(None);
            return Cow::Owned(fallback());
        };
        let shaped = id.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && id.chars().all(|next| next.is_ascii_alphanumeric() || next == '_' || next == '-');
        if !shaped {
            let message = format!("`{id}` is not an id");
            let help = "an id is a letter or `_`, then letters, digits, `_` or `-`".to_owned();
            self.findings.error(Code::BadId, place(entry), message).help(help);
        }
        if let Some(first) = self.phase.ids.get(&id) {
            let message = format!("the id `{id}` is taken by the step on line {first}");
            let help = "ids are unique within `setup`, `steps` and `teardown`, nested steps included".to_owned();
            self.findings.error(Code::DuplicateId, place(entry), message).help(help);
        } else {
            self.phase.ids.insert(id.clone(), line);
        }
        id
    }

    fn action<'n>(&mut self, section: &Section<'n, 't>, span: Span) -> Known<'n> {
        let Some(entry) = section.set("action") else {
            if section.set("await").is_some() && section.entry("action").is_none() {
                return Known::Here(actions::awaiting().spec());
            }
            let at = section.entry("action").map_or(super::decode::first_line(span), |entry| entry.key_span);
            let help = "add `action:`, for example `action: http_request`".to_owned();
            self.findings.error(Code::MissingKey, at, "the step has no `action`").help(help);
            return Known::Not("");
        };
        let Some(name) = entry.value.text() else {
            self.wrong_type(entry, "the name of an action").help(None);
            return Known::Not("");
        };
        if let Some(action) = actions::find(name) {
            #[cfg(feature = "plugins")]
            if action.spec().name == PLUGIN && !self.is_plugin(name, place(entry)) {
                return Known::Not(name);
            }
            return Known::Here(action.spec());
        }
        if let Some(feature) = actions::left_out(name) {
            let message = format!("the action `{name}` is not available: this build was made without it");
            let help = format!("take a build with the cargo feature `{feature}`; the released programs have it");
            self.findings.error(Code::ActionNotAvailable, place(entry), message).help(help);
            return Known::Not(name);
        }
        let names = actions::registry().iter().flat_map(|action| {
            let spec = action.spec();
            std::iter::once(spec.name).chain(spec.aliases.iter().copied())
        });
        let names: Vec<&str> = names.collect();
        let meant = SYNONYMS.iter().filter(|(word, _)| word.eq_ignore_ascii_case(name)).map(|(_, meant)| *meant);
        let meant: Vec<&str> = meant.collect();
        let near = if meant.is_empty() { suggest::near(name, names.iter().copied()) } else { meant };
        let help = suggest::did_you_mean(&near).unwrap_or_else(|| {
            let nearest = suggest::nearest(name, names.iter().copied());
            format!("the nearest are {}; `testmesh actions` shows all", suggest::quoted(&nearest))
        });
        self.findings.error(Code::UnknownAction, place(entry), format!("no action is called `{name}`")).help(help);
        Known::Not(name)
    }

    fn template_of(&mut self, entry: &Entry<'t>) -> Option<crate::template::Template> {
        if entry.value.scalar().is_none() {
            self.wrong_type(entry, "text").help(None);
            return None;
        }
        self.template(&entry.value)
    }

    /// The expression of an entry.
    pub(crate) fn expression_of(&mut self, entry: &Entry<'t>) -> Option<crate::expr::Expr> {
        if entry.value.is_null() {
            return None;
        }
        if entry.value.scalar().is_none() {
            self.wrong_type(entry, "an expression").help(None);
            return None;
        }
        self.expression(&entry.value)
    }

    fn step_config(&mut self, section: &Section<'_, 't>, known: Known<'_>, id: &str) -> StepConfig {
        let entry = section.entry("config");
        match known {
            Known::Here(spec) => {
                let config = self.config(spec, entry, id, section.entry("action").map(place));
                #[cfg(feature = "plugins")]
                if spec.name == PLUGIN {
                    self.plugin_config(section);
                }
                config
            }
            Known::Not(_) => {
                if let Some(entry) = entry {
                    self.unchecked_config(entry);
                }
                StepConfig::default()
            }
        }
    }

    /// Makes the step's id and outputs known to what follows, and gives the names that its own assertions see.
    fn define(&mut self, section: &Section<'_, 't>, known: Known<'_>, id: &Cow<'t, str>, line: u32) -> Names<'t> {
        let (open, result) = match known {
            Known::Here(spec) => (spec.open_result, spec.result),
            Known::Not(_) => (true, &[][..]),
        };
        let outputs = section.entry("output").and_then(|entry| entry.value.entries()).unwrap_or_default();
        let given = outputs.iter().map(|entry| entry.key.clone()).collect();
        let keys = Names { given, fixed: RESULT_ROOTS, result, open, later: false };
        self.facts.push(Fact::Define(Definition { name: id.clone(), line, by: Definer::Step(keys) }));
        for output in outputs {
            let by = Definer::Output { step: id.clone() };
            self.facts.push(Fact::Define(Definition { name: output.key.clone(), line, by }));
        }
        Names { given: Vec::new(), fixed: RESULT_ROOTS, result, open, later: false }
    }

    fn outputs(&mut self, section: &Section<'_, 't>, id: &str) -> Vec<Output> {
        let Some(map) = self.optional_section(section, "output", "`output`") else { return Vec::new() };
        let mut outputs = Vec::with_capacity(map.entries.len());
        for entry in map.entries {
            let line = self.findings.source.line(entry.key_span.start);
            let name = entry.key.to_string();
            let (source, default) = match &entry.value.kind {
                NodeKind::Map(entries) if entries.iter().any(|entry| entry.key == "path") => {
                    let form = Section { entries, what: "an output" };
                    self.unknown_keys(&form, &["path", "default"]);
                    let source = form.entry("path").and_then(|path| self.output_source(&path.value));
                    (source, form.entry("default").map(|default| self.tree(&default.value)))
                }
                _ => (self.output_source(&entry.value), None),
            };
            if let Some(OutputSource::Path(path)) = &source
                && let Some(other) = path.step().filter(|other| *other != id)
            {
                let message = format!("an output is a path into this step's result, not that of `{other}`");
                let help = format!("write `${{{}}}`", path.source());
                self.findings.error(Code::InvalidValue, place(entry), message).help(help);
            }
            outputs.extend(source.map(|source| Output { name, source, default, line }));
        }
        outputs
    }

    /// A path, text with references, or a literal.
    pub(crate) fn output_source(&mut self, node: &Node<'t>) -> Option<OutputSource> {
        match node.scalar() {
            Some(scalar) if scalar.literal == super::scalar::Literal::Text => {
                if crate::template::may_refer(&scalar.text) {
                    return Some(OutputSource::Tree(self.tree(node)));
                }
                self.path(node).map(OutputSource::Path)
            }
            Some(_) => Some(OutputSource::Tree(self.tree(node))),
            None => {
                let help = "write a path such as `body.id`, or `{path: body.id, default: 0}`".to_owned();
                self.wrong_type_at("output", node, node.span, "a path, text with references, or a literal").help(help);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_words_mean_is_there() {
        for (word, meant) in SYNONYMS {
            let is_known = actions::find(meant).is_some() || actions::left_out(meant).is_some();
            assert!(is_known, "`{word}` means `{meant}`, which is no action");
            assert!(actions::find(word).is_none(), "`{word}` is an action");
        }
    }
}
