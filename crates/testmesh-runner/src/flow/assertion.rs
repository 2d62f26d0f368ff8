//! Decodes assertions: one expression, a list of them, `{expression, message}`, or `{response, matches_schema}`.

use super::reader::{Decoder, Section};
use super::scalar::Literal;
use super::yaml::{Entry, Node, NodeKind};
use super::{Assertion, SchemaAssertion};
use crate::diagnostic::Code;
use crate::expr::Expr;
use crate::template::Template;

/// The spellings of an assertion's expression.
const EXPRESSION_KEYS: &[&str] = &["expression", "expr", "condition", "assert"];
/// Every key of an assertion written as a map.
const KEYS: &[&str] = &["expression", "expr", "condition", "assert", "message", "response", "value", "matches_schema"];

impl<'t> Decoder<'t, '_> {
    /// The assertions of an entry; what cannot fail or cannot hold is reported.
    pub(crate) fn assertions(&mut self, entry: Option<&Entry<'t>>) -> Vec<Assertion> {
        self.list_of_assertions(entry, ("cannot fail", "cannot hold"))
    }

    /// The assertions of `assert_none`, none of which may hold.
    pub(crate) fn negated_assertions(&mut self, entry: Option<&Entry<'t>>) -> Vec<Assertion> {
        self.list_of_assertions(entry, ("always holds", "never holds"))
    }

    fn list_of_assertions(&mut self, entry: Option<&Entry<'t>>, says: (&str, &str)) -> Vec<Assertion> {
        let Some(entry) = entry else { return Vec::new() };
        let items = Self::items(entry);
        let mut assertions = Vec::with_capacity(items.len());
        for item in items {
            assertions.extend(self.assertion(item, says));
        }
        assertions
    }

    fn assertion(&mut self, node: &Node<'t>, says: (&str, &str)) -> Option<Assertion> {
        let span = node.span;
        let line = self.findings.source.line(span.start);
        match &node.kind {
            NodeKind::Scalar(scalar) if scalar.literal == Literal::Null || scalar.text.trim().is_empty() => {
                let help =
                    "write an expression such as `status == 200`; quote it if it begins with `!` or `#`".to_owned();
                self.findings.error(Code::WrongType, span, "an assertion is an expression, not nothing").help(help);
                None
            }
            NodeKind::Scalar(_) => {
                let expression = self.condition(node, says)?;
                Some(Assertion { expression, message: None, schema: None, line })
            }
            NodeKind::Map(entries) => self.assertion_map(&Section { entries, what: "an assertion" }, node, says),
            NodeKind::List(_) => {
                self.wrong_type_at("assert", node, span, "expressions").help(None);
                None
            }
        }
    }

    fn condition(&mut self, node: &Node<'t>, (always, never): (&str, &str)) -> Option<Expr> {
        let expression = self.expression(node)?;
        let shown = node.text().unwrap_or_default().trim();
        match expression.constant() {
            Some(true) => {
                let message = format!("`{shown}` {always}");
                let help = "it does not depend on anything the step did".to_owned();
                self.findings.warning(Code::AssertionAlwaysTrue, node.span, message).help(help);
            }
            Some(false) => {
                let message = format!("`{shown}` {never}");
                let help = "it does not depend on anything the step did".to_owned();
                self.findings.warning(Code::AssertionAlwaysFalse, node.span, message).help(help);
            }
            None => {}
        }
        Some(expression)
    }

    fn assertion_map(&mut self, section: &Section<'_, 't>, node: &Node<'t>, says: (&str, &str)) -> Option<Assertion> {
        let line = self.findings.source.line(node.span.start);
        if section.any(KEYS).is_none() {
            self.not_an_assertion(section, node);
            return None;
        }
        self.unknown_keys(section, KEYS);
        let message = section.set("message").and_then(|entry| self.message(entry));
        if let Some(schema) = section.set("matches_schema") {
            let value = section.any(&["response", "value"]).map(|entry| self.tree(&entry.value));
            let schema = SchemaAssertion { value, schema: self.tree(&schema.value) };
            let expression = Expr::parse("true").expect("`true` is an expression");
            return Some(Assertion { expression, message, schema: Some(schema), line });
        }
        let Some(entry) = section.any(EXPRESSION_KEYS) else {
            let help = "add `expression: …`".to_owned();
            self.findings.error(Code::MissingKey, node.span, "the assertion has no `expression`").help(help);
            return None;
        };
        if entry.value.text().is_none() {
            self.wrong_type(entry, "an expression").help(None);
            return None;
        }
        let expression = self.condition(&entry.value, says)?;
        Some(Assertion { expression, message, schema: None, line })
    }

    fn message(&mut self, entry: &Entry<'t>) -> Option<Template> {
        if entry.value.scalar().is_none() {
            self.wrong_type(entry, "text").help(None);
            return None;
        }
        self.template(&entry.value)
    }

    /// `- body.id: 7` is a map in YAML; people mean a comparison.
    fn not_an_assertion(&mut self, section: &Section<'_, 't>, node: &Node<'t>) {
        let help = match section.entries {
            [only] => match only.value.text() {
                Some(text) => format!("write `- '{} == {text}'`", only.key),
                None => "write an expression such as `- status == 200`".to_owned(),
            },
            _ => "write one expression for each line: `- status == 200`".to_owned(),
        };
        self.findings.error(Code::WrongType, node.span, "an assertion is an expression, not a map").help(help);
    }
}
