//! Compiles the texts of a flow: templates, expressions, paths. Mistakes inside them point into the scalar, and every
//! name they use is recorded.

use super::facts::{Fact, Use};
use super::offsets::locate;
use super::reader::Decoder;
use super::scalar::Literal;
use super::yaml::{Node, NodeKind, Style};
use crate::diagnostic::Code;
use crate::expr::{Expr, Reference, SyntaxError};
use crate::path::ResultPath;
use crate::template::{Template, Tree};
use crate::value::{Map, Value};

impl<'t> Decoder<'t, '_> {
    /// Compiles a scalar's text as a template.
    pub(crate) fn template(&mut self, node: &Node<'t>) -> Option<Template> {
        let text = node.scalar().map(|scalar| &*scalar.text)?;
        match Template::parse(text) {
            Ok(template) => {
                if template.as_literal().is_none() {
                    self.uses(node, template.references());
                }
                Some(template)
            }
            Err(mistakes) => {
                self.mistakes(Code::TemplateSyntax, node, mistakes);
                None
            }
        }
    }

    /// Compiles a scalar's text as an expression.
    pub(crate) fn expression(&mut self, node: &Node<'t>) -> Option<Expr> {
        let text = node.text()?;
        match Expr::parse_known(text) {
            Ok(expression) => {
                self.uses(node, expression.references());
                Some(expression)
            }
            Err(mut mistakes) => {
                if let (Some(help), Some(first)) = (self.lost_to_yaml(node), mistakes.first_mut()) {
                    first.help = Some(help.to_owned());
                }
                self.mistakes(Code::ExpressionSyntax, node, mistakes);
                None
            }
        }
    }

    /// What to say when YAML itself took a part of an unquoted expression away, as a tag or as a comment.
    fn lost_to_yaml(&self, node: &Node<'_>) -> Option<&'static str> {
        if node.scalar()?.style != Style::Plain {
            return None;
        }
        let text = self.findings.source.text;
        let before = text[..node.span.start].rsplit('\n').next().unwrap_or_default().trim_end();
        let after = text[node.span.end..].split('\n').next().unwrap_or_default();
        if before.rsplit([' ', ':']).next().is_some_and(|word| word.starts_with('!')) {
            return Some("put the expression into quotes: to YAML, a word that begins with `!` is a tag");
        }
        let comment = after.trim_start().starts_with('#');
        comment.then_some("put the expression into quotes: to YAML, what follows ` #` is a comment")
    }

    /// Compiles a scalar's text as a path into a result.
    pub(crate) fn path(&mut self, node: &Node<'t>) -> Option<ResultPath> {
        match ResultPath::parse(node.text()?) {
            Ok(path) => Some(path),
            Err(mistakes) => {
                self.mistakes(Code::PathSyntax, node, mistakes);
                None
            }
        }
    }

    fn uses(&mut self, node: &Node<'t>, references: Vec<Reference>) {
        for Reference { root, keys, optional, start, end } in references {
            let span = locate(&self.findings.source, node, start, end);
            self.facts.push(Fact::Use(Use { root, keys, optional, span }));
        }
    }

    fn mistakes(&mut self, code: Code, node: &Node<'t>, mistakes: Vec<SyntaxError>) {
        for mistake in mistakes {
            let span = locate(&self.findings.source, node, mistake.start, mistake.end);
            self.findings.error(code, span, mistake.message).help(mistake.help);
        }
    }

    /// Compiles any value: literals stay what they are, texts become templates.
    pub(crate) fn tree(&mut self, node: &Node<'t>) -> Tree {
        match &node.kind {
            NodeKind::Scalar(scalar) if scalar.literal != Literal::Text => {
                Tree::Const(scalar.literal.value(&scalar.text))
            }
            NodeKind::Scalar(scalar) => match self.template(node) {
                Some(template) => Tree::from(template),
                // Reported; the text stands in so that the rest of the tree is checked.
                None => Tree::Const(Value::Text((&*scalar.text).into())),
            },
            NodeKind::List(items) => list(items.iter().map(|item| self.tree(item)).collect()),
            NodeKind::Map(entries) => {
                let trees = entries.iter().map(|entry| (self.key(entry), self.tree(&entry.value))).collect();
                map(trees)
            }
        }
    }

    /// Compiles a key, which may hold references.
    pub(crate) fn key(&mut self, entry: &super::yaml::Entry<'t>) -> Template {
        let reported = match Template::parse(&entry.key) {
            Ok(template) => {
                for Reference { root, keys, optional, .. } in template.references() {
                    self.facts.push(Fact::Use(Use { root, keys, optional, span: entry.key_span }));
                }
                return template;
            }
            Err(mistakes) => mistakes,
        };
        for mistake in reported {
            self.findings.error(Code::TemplateSyntax, entry.key_span, mistake.message).help(mistake.help);
        }
        literal_key("")
    }
}

/// A key without references.
pub(crate) fn literal_key(name: &str) -> Template {
    Template::parse(name).expect("a name of letters and `_` holds no reference")
}

/// A list; constant when every item is.
pub(crate) fn list(items: Vec<Tree>) -> Tree {
    if !items.iter().all(|item| matches!(item, Tree::Const(_))) {
        return Tree::List(items);
    }
    Tree::Const(Value::list(items.into_iter().map(constant).collect()))
}

/// A map; constant when every key and value is.
pub(crate) fn map(entries: Vec<(Template, Tree)>) -> Tree {
    let fixed = |(key, value): &(Template, Tree)| key.as_literal().is_some() && matches!(value, Tree::Const(_));
    if !entries.iter().all(fixed) {
        return Tree::Map(entries);
    }
    let constants = entries.into_iter().map(|(key, value)| {
        let key = key.as_literal().unwrap_or_default().to_owned();
        (key, constant(value))
    });
    Tree::Const(Value::Map(std::sync::Arc::new(constants.collect::<Map>())))
}

fn constant(tree: Tree) -> Value {
    match tree {
        Tree::Const(value) => value,
        Tree::Template(_) | Tree::List(_) | Tree::Map(_) => Value::Null,
    }
}
