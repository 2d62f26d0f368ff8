//! Checks a step's `config` against its action's description and compiles it, whatever the action is.

use std::borrow::Cow;

use super::facts::{Fact, Names};
use super::kinds;
use super::reader::{Decoder, Section, key_help, place};
use super::source::Span;
use super::text;
use super::yaml::{Entry, Node, NodeKind};
use crate::action::{ActionSpec, ConfigField, Field, Kind, Pattern, StepConfig};
use crate::diagnostic::Code;
use crate::template::{Template, Tree};
use crate::value::Value;

/// Keys that belong beside `config`, not into it.
const STEP_ONLY: &[&str] = &["background", "poll", "retry"];
/// Keys that name what each turn of a loop sees.
const NAMING_KEYS: &[&str] = &["item_name", "index_name"];
/// What a mock's templates see of the request at hand.
const REQUEST_NAMES: &[&str] = &["request", "path", "query", "headers", "body", "state"];
/// What the steps that set up a provider state see.
const STATE_NAMES: &[&str] = &["state", "params"];
/// What each turn of `wait_until` sees.
const TURN_NAMES: &[&str] = &["attempt", "iteration"];

impl<'t> Decoder<'t, '_> {
    /// Compiles `config`. What is missing is reported at `action`.
    pub(crate) fn config(
        &mut self,
        spec: &'static ActionSpec,
        entry: Option<&Entry<'t>>,
        id: &str,
        action: Option<Span>,
    ) -> StepConfig {
        let what = "this action's `config`";
        let section = entry.and_then(|entry| self.section(entry, what)).unwrap_or(Section { entries: &[], what });
        if entry.is_some_and(|entry| !entry.value.is_null() && entry.value.entries().is_none()) {
            return StepConfig::default();
        }
        self.secrets_in(section.entries);
        self.missing(spec.config, &section, entry.map(|entry| entry.key_span).or(action), spec.name);
        let first = self.findings.len();
        let matched = self.matched(spec.config, spec.open_config, &section);
        let config = self.compile(spec, &section, &matched, id);
        if !self.findings.any_error_since(first) {
            self.of_the_action(spec, &matched, &config, entry.map(|entry| entry.key_span).or(action));
        }
        config
    }

    /// Reports what only the action itself can say; `place` is that of all keys.
    fn of_the_action(
        &mut self,
        spec: &'static ActionSpec,
        matched: &[(&Entry<'t>, Option<&'static Field>)],
        config: &StepConfig,
        place: Option<Span>,
    ) {
        let mistakes = crate::actions::find(spec.name).map(|action| action.mistakes(config)).unwrap_or_default();
        for mistake in mistakes {
            let named = |(_, field): &&(&Entry<'t>, Option<&'static Field>)| {
                field.is_some_and(|field| Some(field.name) == mistake.key)
            };
            let entry = matched.iter().find(named).map(|(entry, _)| *entry);
            let item = entry.zip(mistake.item).and_then(|(entry, index)| Self::items(entry).get(index));
            let span = item.map(|node| node.span).or(entry.map(|entry| entry.key_span)).or(place);
            if let Some(span) = span {
                self.findings.error(Code::InvalidValue, span, mistake.message).help(None);
            }
        }
    }

    /// Compiles each entry: plain values first, then what sees the outcome of nested steps, in the order written.
    fn compile(
        &mut self,
        spec: &'static ActionSpec,
        section: &Section<'_, 't>,
        matched: &[(&Entry<'t>, Option<&'static Field>)],
        id: &str,
    ) -> StepConfig {
        let order = |kind: Option<Kind>| match kind {
            Some(Kind::Steps | Kind::Branches) => 1,
            // A loop's condition is evaluated after its steps, a branch's before.
            Some(Kind::Expression | Kind::Assertions) if spec.name != "condition" => 2,
            _ => 0,
        };
        let kinds: Vec<Option<Kind>> =
            matched.iter().map(|(entry, field)| field.map(|field| kinds::pick(field.kind, &entry.value))).collect();
        let mut fields: Vec<Option<(String, ConfigField)>> = matched.iter().map(|_| None).collect();
        let mut inner = Vec::new();
        for pass in 0..=2 {
            for (slot, ((entry, field), kind)) in fields.iter_mut().zip(matched.iter().zip(&kinds)) {
                let kind = *kind;
                if order(kind) != pass {
                    continue;
                }
                let name = field.map_or(&*entry.key, |field| field.name);
                let compiled = match kind {
                    None => ConfigField::Tree(self.tree(&entry.value)),
                    Some(Kind::Expression) => {
                        let mut names = Self::outcome(spec, section);
                        // What `until` looks at is an event.
                        names.open |= name == "until";
                        match self.with_names(names, |d| d.expression_of(entry)) {
                            Some(expression) => ConfigField::Expression(expression),
                            None => continue,
                        }
                    }
                    Some(Kind::Assertions) => {
                        let names = Self::asserted(section, spec);
                        ConfigField::Assertions(self.with_names(names, |d| d.assertions(Some(entry))))
                    }
                    Some(kind @ Kind::Object(within)) => {
                        self.inner_conditions(within, name, &entry.value, &mut inner);
                        ConfigField::Tree(self.value(kind, name, &entry.value, place(entry)))
                    }
                    Some(Kind::Held(inner)) => ConfigField::Held(self.value(*inner, name, &entry.value, place(entry))),
                    Some(kind @ Kind::List(Kind::Object(within))) => {
                        for (index, item) in Self::items(entry).iter().enumerate() {
                            self.inner_conditions(within, &format!("{name}.{index}"), item, &mut inner);
                        }
                        ConfigField::Tree(self.value(kind, name, &entry.value, place(entry)))
                    }
                    Some(Kind::Steps) => ConfigField::Steps(self.nested(entry, Self::turn(spec, section), id)),
                    Some(Kind::Branches) => ConfigField::Branches(self.branches(entry, id)),
                    // The rules of `transform` see the keys of its `input` by name.
                    Some(kind) if spec.name == "transform" && name == "transforms" => {
                        let names = Self::asserted(section, spec);
                        let tree = self.with_names(names, |d| d.value(kind, name, &entry.value, place(entry)));
                        ConfigField::Tree(tree)
                    }
                    Some(kind) => ConfigField::Tree(self.value(kind, name, &entry.value, place(entry))),
                };
                *slot = Some((name.to_owned(), compiled));
            }
        }
        StepConfig { fields: fields.into_iter().flatten().chain(inner).collect() }
    }

    /// Compiles the conditions in a map: they are known as `match.json_path`. What they see is what the action looks at,
    /// so any name may be right.
    fn inner_conditions(
        &mut self,
        fields: &'static [Field],
        name: &str,
        node: &Node<'t>,
        inner: &mut Vec<(String, ConfigField)>,
    ) {
        for field in fields {
            let known = |key: &str| key == field.name || field.aliases.contains(&key);
            let entry = node.entries().unwrap_or_default().iter().find(|entry| known(&entry.key));
            let Some(entry) = entry else { continue };
            let name = format!("{name}.{}", field.name);
            match field.kind {
                Kind::Assertions => {
                    let names = Names { open: true, ..Names::default() };
                    let conditions = self.with_names(names, |d| d.assertions(Some(entry)));
                    inner.push((name, ConfigField::Assertions(conditions)));
                }
                Kind::Object(within) => self.inner_conditions(within, &name, &entry.value, inner),
                _ => {}
            }
        }
    }

    /// Pairs entries with the fields they mean; unknown ones are reported and left out.
    fn matched<'n>(
        &mut self,
        fields: &'static [Field],
        open: bool,
        section: &Section<'n, 't>,
    ) -> Vec<(&'n Entry<'t>, Option<&'static Field>)> {
        let mut matched: Vec<(&Entry<'t>, Option<&'static Field>)> = Vec::with_capacity(section.entries.len());
        for entry in section.entries {
            let field = fields.iter().find(|field| field.name == entry.key || field.aliases.contains(&&*entry.key));
            match field {
                Some(field) => {
                    let twin = matched.iter().find(|(_, other)| other.is_some_and(|other| other.name == field.name));
                    if let Some((twin, _)) = twin {
                        let message = format!("`{}` and `{}` are the same key", twin.key, entry.key);
                        self.findings
                            .error(Code::DuplicateKey, entry.key_span, message)
                            .help("keep one of them".to_owned());
                    } else {
                        matched.push((entry, Some(field)));
                    }
                }
                None if open => matched.push((entry, None)),
                None => self.unknown_field(fields, section.what, entry),
            }
        }
        matched
    }

    fn unknown_field(&mut self, fields: &'static [Field], what: &str, entry: &Entry<'t>) {
        let key = &entry.key;
        let message = format!("`{key}` means nothing in {what} and is ignored");
        let help = if STEP_ONLY.contains(&&**key) {
            Some(format!("move `{key}` to the step itself, beside `config`"))
        } else {
            let known: Vec<&str> = fields
                .iter()
                .flat_map(|field| std::iter::once(field.name).chain(field.aliases.iter().copied()))
                .collect();
            key_help(key, &known)
        };
        self.findings.warning(Code::UnknownKey, entry.key_span, message).help(help);
    }

    fn missing(&mut self, fields: &'static [Field], section: &Section<'_, 't>, at: Option<Span>, owner: &str) {
        for field in fields.iter().filter(|field| field.required) {
            let there = section.entry(field.name).or_else(|| section.any(field.aliases));
            if there.is_some_and(|entry| !entry.value.is_null() || matches!(field.kind, Kind::Any)) {
                continue;
            }
            let span = there.map(|entry| entry.key_span).or(at).unwrap_or(Span::new(0, 0));
            let message = format!("`{owner}` needs `{}`", field.name);
            let help = format!("`{}`: {}", field.name, field.doc);
            self.findings.error(Code::MissingKey, span, message).help(help);
        }
    }

    /// Compiles a value of a kind that is no expression, assertion or step.
    pub(crate) fn value(&mut self, kind: Kind, name: &str, node: &Node<'t>, span: Span) -> Tree {
        if let Kind::OnRequest(inner) = kind {
            let names = Names { fixed: REQUEST_NAMES, later: true, ..Names::default() };
            return self.with_names(names, |d| d.value(*inner, name, node, span));
        }
        if kinds::is_reference(node) || node.is_null() {
            return self.tree(node);
        }
        match (kinds::pick(kind, node), &node.kind) {
            (Kind::Text, NodeKind::Scalar(scalar)) if scalar.literal != super::scalar::Literal::Text => {
                Tree::Const(Value::Text((&*scalar.text).into()))
            }
            (Kind::List(item), NodeKind::List(items)) => {
                text::list(items.iter().map(|node| self.value(*item, name, node, node.span)).collect())
            }
            (Kind::List(item), _) => text::list(vec![self.value(*item, name, node, span)]),
            (Kind::Map(item), NodeKind::Map(entries)) => text::map(
                entries
                    .iter()
                    .map(|entry| (self.key(entry), self.value(*item, &entry.key, &entry.value, place(entry))))
                    .collect(),
            ),
            (Kind::Object(fields), NodeKind::Map(entries)) => self.object(fields, name, entries, span),
            (Kind::Paths(item), NodeKind::Map(entries)) => {
                for entry in entries {
                    self.pattern(Pattern::Path, &entry.key, entry.key_span);
                }
                self.value(Kind::Map(item), name, node, span)
            }
            (Kind::Pattern(pattern), NodeKind::Scalar(scalar)) => {
                self.pattern(pattern, &scalar.text, span);
                Tree::Const(Value::Text((&*scalar.text).into()))
            }
            (kind, _) => {
                self.literal(kind, name, node, span);
                self.tree(node)
            }
        }
    }

    fn object(&mut self, fields: &'static [Field], name: &str, entries: &[Entry<'t>], span: Span) -> Tree {
        let section = Section { entries, what: "this part of `config`" };
        self.missing(fields, &section, Some(span), name);
        let compiled: Vec<(Template, Tree)> = self
            .matched(fields, false, &section)
            .into_iter()
            .filter_map(|(entry, field)| {
                // Conditions were compiled before.
                let field = field.filter(|field| !matches!(field.kind, Kind::Assertions))?;
                let tree = self.value(field.kind, field.name, &entry.value, place(entry));
                Some((text::literal_key(field.name), tree))
            })
            .collect();
        text::map(compiled)
    }

    /// Reports a text that is not what it has to be.
    fn pattern(&mut self, pattern: Pattern, text: &str, span: Span) {
        if crate::template::may_refer(text) {
            return;
        }
        if let Err((problem, help)) = kinds::pattern(pattern, text) {
            self.findings.error(Code::BadPattern, span, problem).help(help);
        }
    }

    /// Reports a literal that its kind does not take.
    fn literal(&mut self, kind: Kind, name: &str, node: &Node<'t>, span: Span) {
        match kinds::check(kind, node) {
            Ok(()) => {}
            Err(kinds::Mismatch { code, problem, help }) => {
                let message = match code {
                    Code::WrongType => format!("`{name}` takes {problem}, not {}", node.described()),
                    _ => format!("`{name}` {problem}"),
                };
                self.findings.error(code, span, message).help(help);
            }
        }
    }

    /// Nested steps, which see `names` too.
    pub(super) fn nested(&mut self, entry: &Entry<'t>, names: Names<'t>, id: &str) -> Vec<super::Step> {
        self.depth += 1;
        let steps = self.with_names(names, |d| d.steps(entry, Some(id)));
        self.depth -= 1;
        steps
    }

    /// What the steps of one turn see: the loop's item and number, as the configuration or else the action calls them.
    fn turn(spec: &'static ActionSpec, section: &Section<'_, 't>) -> Names<'t> {
        let naming = spec.config.iter().filter(|field| NAMING_KEYS.contains(&field.name));
        let given = naming.filter_map(|field| {
            let entry = section.entry(field.name).or_else(|| section.any(field.aliases));
            entry.and_then(|entry| entry.value.named()).or(field.default.map(Cow::Borrowed))
        });
        let fixed = match spec.name {
            "wait_until" => TURN_NAMES,
            "contract_verify" => STATE_NAMES,
            _ => &[],
        };
        Names { given: given.collect(), fixed, ..Names::default() }
    }

    /// Does something while more names are known.
    fn with_names<T>(&mut self, names: Names<'t>, act: impl FnOnce(&mut Self) -> T) -> T {
        self.facts.push(Fact::Open(names));
        let outcome = act(self);
        self.facts.push(Fact::Close);
        outcome
    }

    /// What an expression in the configuration sees: the outcome of what the action did.
    fn outcome(spec: &'static ActionSpec, section: &Section<'_, 't>) -> Names<'t> {
        let given = Self::turn(spec, section).given;
        Names { given, fixed: super::step::RESULT_ROOTS, result: spec.result, open: spec.open_result, later: false }
    }

    /// What assertions in the configuration see: the keys of `data`, which may be any when it is a reference.
    fn asserted(section: &Section<'_, 't>, spec: &'static ActionSpec) -> Names<'t> {
        let mut names = Self::outcome(spec, section);
        let data = section.any(&["data", "input", "source"]);
        names.open = data.is_some_and(|data| data.value.entries().is_none());
        if let Some(entries) = data.and_then(|data| data.value.entries()) {
            names.given.extend(entries.iter().map(|entry| entry.key.clone()));
        }
        names
    }

    /// The configuration of an action that is not here: only its references are looked at.
    pub(crate) fn unchecked_config(&mut self, entry: &Entry<'t>) {
        for entry in entry.value.entries().unwrap_or_default() {
            if STEP_ONLY.contains(&&*entry.key) {
                self.unknown_field(&[], "this action's `config`", entry);
            }
        }
        self.secrets_in(entry.value.entries().unwrap_or_default());
        // Of an unknown action nothing is known.
        self.with_names(Names { open: true, ..Names::default() }, |d| d.tree(&entry.value));
    }
}
