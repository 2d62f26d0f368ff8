//! A document's tree to a [`Flow`]: every key of the flow itself; steps are decoded in [`super::step`].

use super::facts::{Fact, Use};
use super::findings::Findings;
use super::reader::{Decoder, Phase, Section, place};
use super::source::Span;
use super::yaml::{Node, NodeKind};
use super::{Data, Flow, FlowConfig, InputSpec, OutputSource, ParseOptions, Step, check, text};
use crate::diagnostic::Code;
use crate::template::{Template, Tree};
use crate::value::Value;

/// The keys of a flow.
pub(crate) const FLOW_KEYS: &[&str] = &[
    "name",
    "description",
    "author",
    "version",
    "suite",
    "tags",
    "env",
    "env_file",
    "config",
    "input",
    "output",
    "data",
    "setup",
    "steps",
    "teardown",
];
/// The keys of a flow's `config`.
pub(crate) const CONFIG_KEYS: &[&str] = &["timeout", "fail_fast", "retry", "strict", "lock"];
/// The keys of a declared input.
const INPUT_KEYS: &[&str] = &["type", "required", "default", "description"];
/// The types an input may have.
pub(crate) const INPUT_TYPES: &[(&str, &str)] = &[
    ("string", "string"),
    ("integer", "integer"),
    ("number", "number"),
    ("boolean", "boolean"),
    ("list", "list"),
    ("map", "map"),
    ("array", "list"),
    ("object", "map"),
];
/// The longest name of a flow, in characters.
pub(crate) const NAME_LENGTH: usize = 255;

/// Decodes one document; `None` when it has an error.
pub(crate) fn flow<'t>(document: &Node<'t>, options: &ParseOptions, findings: &mut Findings<'t>) -> Option<Flow> {
    let first = findings.len();
    // A fact comes from 32 bytes of text, about.
    let facts = Vec::with_capacity(findings.source.text.len() / 32);
    let mut decoder = Decoder { findings, options, facts, n_steps: 0, depth: 0, phase: Phase::default() };
    let flow = decoder.document(document);
    if options.strict || flow.as_ref().is_some_and(|flow| flow.config.strict) {
        findings.make_strict(first);
    }
    flow.filter(|_| !findings.any_error_since(first))
}

impl<'t> Decoder<'t, '_> {
    fn document(&mut self, document: &Node<'t>) -> Option<Flow> {
        let Some(entries) = document.entries() else {
            let message = format!("a flow is a map with `name` and `steps`, not {}", document.described());
            self.findings.error(Code::WrongType, document.span, message).help(None);
            return None;
        };
        let root = Section { entries, what: "the document" };
        let Some(wrapper) = root.entry("flow") else {
            return self.flow(&Section { entries, what: "the flow" }, document.span);
        };
        self.unknown_keys(&root, &["flow"]);
        match &wrapper.value.kind {
            NodeKind::Map(entries) => self.flow(&Section { entries, what: "the flow" }, wrapper.key_span),
            NodeKind::Scalar(_) | NodeKind::List(_) => {
                self.wrong_type(wrapper, "a map with `name` and `steps`").help(None);
                None
            }
        }
    }

    fn flow(&mut self, section: &Section<'_, 't>, span: Span) -> Option<Flow> {
        self.unknown_keys(section, FLOW_KEYS);
        let name = self.flow_name(section, span);
        let env = self.env(section);
        let input = self.inputs(section);
        let data = self.data(section);
        let env_file = self.text(section, "env_file");
        let config = self.flow_config(section);
        let known = check::Known {
            env: env.iter().map(|(name, _)| name.clone()).collect(),
            inputs: input.iter().map(|(name, _)| name.clone()).collect(),
            rows: row_names(data.as_ref()),
            anything: env_file.is_some(),
            any_row: matches!(data, Some(Data::File(_))),
        };
        let setup = self.phase(section, "setup");
        let steps = self.phase(section, "steps");
        let teardown = self.phase(section, "teardown");
        if section.entry("steps").is_none() {
            let help = "add `steps:` with a list of steps".to_owned();
            self.findings.error(Code::MissingKey, first_line(span), "the flow has no `steps`").help(help);
        }
        let output = self.flow_output(section);
        check::references(&self.facts, &known, self.options, self.findings);
        Some(Flow {
            name: name?,
            description: self.text(section, "description"),
            author: self.text(section, "author"),
            version: self.text(section, "version"),
            suite: self.text(section, "suite"),
            tags: self.tags(section),
            env,
            env_file,
            config,
            input,
            output,
            data,
            setup,
            steps,
            teardown,
        })
    }

    fn flow_name(&mut self, section: &Section<'_, 't>, span: Span) -> Option<String> {
        let Some(entry) = section.set("name") else {
            let at = section.entry("name").map_or(first_line(span), |entry| entry.key_span);
            let help = "add `name:`, 1 to 255 characters".to_owned();
            self.findings.error(Code::MissingKey, at, "the flow has no `name`").help(help);
            return None;
        };
        let name = self.text(section, "name")?;
        let length = name.chars().count();
        if name.trim().is_empty() || length > NAME_LENGTH {
            let message = format!("`name` has {length} characters, not from 1 to {NAME_LENGTH}");
            self.findings.error(Code::InvalidValue, place(entry), message).help(None);
        }
        Some(name)
    }

    fn tags(&mut self, section: &Section<'_, 't>) -> Vec<String> {
        let Some(entry) = section.set("tags") else { return Vec::new() };
        let mut tags = Vec::new();
        for item in Self::items(entry) {
            match item.text() {
                // One text may hold several tags: `smoke, critical`.
                Some(text) if matches!(entry.value.kind, NodeKind::Scalar(_)) => {
                    tags.extend(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned));
                }
                Some(text) => tags.push(text.to_owned()),
                None => {
                    self.wrong_type_at("tags", item, item.span, "texts").help(None);
                }
            }
        }
        tags
    }

    fn env(&mut self, section: &Section<'_, 't>) -> Vec<(String, Template)> {
        let Some(env) = self.optional_section(section, "env", "`env`") else { return Vec::new() };
        let mut variables = Vec::new();
        for entry in env.entries {
            let template = match &entry.value.kind {
                NodeKind::Scalar(_) if entry.value.is_null() => Some(text::literal_key("")),
                NodeKind::Scalar(_) => self.template(&entry.value),
                NodeKind::List(_) | NodeKind::Map(_) => {
                    let help = "values in `env` are texts; write structures in a step".to_owned();
                    self.wrong_type(entry, "text").help(help);
                    None
                }
            };
            self.secret(&entry.key, &entry.value);
            variables.extend(template.map(|template| (entry.key.to_string(), template)));
        }
        variables
    }

    fn inputs(&mut self, section: &Section<'_, 't>) -> Vec<(String, InputSpec)> {
        let Some(inputs) = self.optional_section(section, "input", "`input`") else { return Vec::new() };
        let mut specs = Vec::new();
        for entry in inputs.entries {
            let mut spec = InputSpec { kind: None, required: false, default: None };
            match &entry.value.kind {
                NodeKind::Map(entries) => {
                    let section = Section { entries, what: "an input" };
                    self.unknown_keys(&section, INPUT_KEYS);
                    let kind = section.entry("type").and_then(|kind| self.choice(kind, INPUT_TYPES));
                    spec.kind = kind.map(str::to_owned);
                    spec.required = self.boolean(&section, "required").unwrap_or(false);
                    spec.default = section.entry("default").map(|default| self.tree(&default.value));
                }
                NodeKind::Scalar(_) if entry.value.is_null() => {}
                // A bare word is its type: `user_id: string`.
                NodeKind::Scalar(_) => spec.kind = self.choice(entry, INPUT_TYPES).map(str::to_owned),
                NodeKind::List(_) => {
                    self.wrong_type(entry, "a map with `type`, `required`, `default`").help(None);
                }
            }
            specs.push((entry.key.to_string(), spec));
        }
        specs
    }

    fn data(&mut self, section: &Section<'_, 't>) -> Option<Data> {
        let entry = section.set("data")?;
        match &entry.value.kind {
            NodeKind::List(items) => {
                let mut rows = Vec::new();
                for item in items {
                    rows.extend(self.row(item));
                }
                Some(Data::Rows(rows))
            }
            NodeKind::Map(entries) => {
                let map = Section { entries, what: "`data`" };
                self.unknown_keys(&map, &["file", "rows"]);
                if let Some(rows) = map.entry("rows") {
                    return Some(Data::Rows(Self::items(rows).iter().filter_map(|row| self.row(row)).collect()));
                }
                let file = self.text(&map, "file");
                if file.is_none() {
                    let help = "name a CSV or JSON file, or write the rows as a list".to_owned();
                    self.findings.error(Code::MissingKey, entry.key_span, "`data` has no `file`").help(help);
                }
                file.map(Data::File)
            }
            NodeKind::Scalar(_) => {
                self.wrong_type(entry, "a list of rows, or a map with `file`").help(None);
                None
            }
        }
    }

    fn row(&mut self, node: &Node<'t>) -> Option<Tree> {
        if node.entries().is_none() {
            self.wrong_type_at("data", node, node.span, "a list of maps").help(None);
            return None;
        }
        let row = self.tree(node);
        if !matches!(row, Tree::Const(_)) {
            let help =
                "write the value out; references belong into steps, where each row's values are known".to_owned();
            self.findings.error(Code::InvalidValue, node.span, "a row of `data` holds a reference").help(help);
        }
        Some(row)
    }

    fn flow_config(&mut self, section: &Section<'_, 't>) -> FlowConfig {
        let mut config = FlowConfig::default();
        let Some(map) = self.optional_section(section, "config", "the flow's `config`") else { return config };
        self.unknown_keys(&map, CONFIG_KEYS);
        if let Some(timeout) = map.entry("timeout").and_then(|entry| self.duration(entry, false)) {
            config.timeout = timeout;
        }
        config.fail_fast = self.boolean(&map, "fail_fast").unwrap_or(true);
        config.strict = self.boolean(&map, "strict").unwrap_or(false);
        config.lock = self.text(&map, "lock");
        config.retry = map.entry("retry").and_then(|entry| self.retry(entry));
        config
    }

    fn phase(&mut self, section: &Section<'_, 't>, name: &'static str) -> Vec<Step> {
        self.phase = Phase { name, ..Phase::default() };
        let Some(entry) = section.entry(name) else { return Vec::new() };
        let steps = self.steps(entry, None);
        self.never_awaited();
        if name == "steps" && steps.is_empty() && Self::items(entry).is_empty() {
            let help = "a flow has at least one step".to_owned();
            self.findings.error(Code::InvalidValue, entry.key_span, "`steps` is empty").help(help);
        }
        steps
    }

    fn flow_output(&mut self, section: &Section<'_, 't>) -> Vec<(String, OutputSource)> {
        let Some(map) = self.optional_section(section, "output", "`output`") else { return Vec::new() };
        let mut outputs = Vec::new();
        for entry in map.entries {
            let source = self.output_source(&entry.value);
            if let Some(OutputSource::Path(_)) = &source {
                self.path_root(&entry.value);
            }
            outputs.extend(source.map(|source| (entry.key.to_string(), source)));
        }
        outputs
    }

    /// A flow's output path begins with a name that a step defines.
    fn path_root(&mut self, node: &Node<'t>) {
        let text = node.text().unwrap_or_default();
        let length =
            text.find(|next: char| !next.is_alphanumeric() && next != '_' && next != '-').unwrap_or(text.len());
        if length > 0 {
            let span = super::offsets::locate(&self.findings.source, node, 0, length);
            let optional = text.ends_with('?');
            self.facts.push(Fact::Use(Use { root: text[..length].to_owned(), keys: Vec::new(), optional, span }));
        }
    }
}

/// The first byte of a span, for findings about what is not there.
pub(crate) fn first_line(span: Span) -> Span {
    Span::new(span.start, span.start)
}

fn row_names(data: Option<&Data>) -> Vec<String> {
    let Some(Data::Rows(rows)) = data else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        match row {
            Tree::Const(Value::Map(map)) => names.extend(map.entries.keys().map(ToString::to_string)),
            Tree::Map(entries) => {
                names.extend(entries.iter().filter_map(|(key, _)| key.as_literal()).map(str::to_owned));
            }
            Tree::Const(_) | Tree::Template(_) | Tree::List(_) => {}
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}
