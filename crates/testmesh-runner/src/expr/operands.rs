//! The parser's other half: literals, paths, calls and what follows them.

use bytestring::ByteString;

use super::ast::{Kind, Node, Operator, Path, Root, Step, StepKind};
use super::functions;
use super::lexer::{Lexeme, Token};
use super::literals;
use super::parser::{Parse, Parser, fault, word_operator};
use crate::value::Value;

impl<'s> Parser<'s> {
    /// An operand and the steps that follow it.
    pub(super) fn postfix(&mut self) -> Parse<Node> {
        let start = self.peek().start;
        let mut node = self.primary()?;
        loop {
            let next = self.peek();
            match next.lexeme {
                Lexeme::Symbol("." | "?.") => {
                    self.bump();
                    let optional = next.lexeme == Lexeme::Symbol("?.");
                    if optional && self.lexer.rest().starts_with('[') {
                        node = self.bracket(node, start, true)?;
                        continue;
                    }
                    node = self.key(node, start, optional)?;
                }
                Lexeme::Symbol("[") => node = self.bracket(node, start, false)?,
                _ => return Ok(node),
            }
        }
    }

    fn key(&mut self, node: Node, start: usize, optional: bool) -> Parse<Node> {
        let at = self.last_end;
        self.seek(at);
        let key = self.lexer.key();
        let end = self.lexer.at;
        self.seek(end);
        if key.is_empty() {
            let next = self.peek();
            let mut error = self.unexpected("a key after `.`", next);
            if next.lexeme == Lexeme::Symbol("*") {
                error.help = Some("use `jsonpath(x, \"$.items[*]\")` for several values".to_owned());
            }
            return Err(error);
        }
        if self.lexer.rest().starts_with('(') {
            return self.call(key, (at, end), Some(node), start);
        }
        let kind = match key.parse::<i64>() {
            Ok(index) => StepKind::Index(index),
            Err(_) => StepKind::Key(key.to_owned()),
        };
        self.step(node, Step { kind, optional }, start)
    }

    fn bracket(&mut self, node: Node, start: usize, optional: bool) -> Parse<Node> {
        let open = self.bump();
        let next = self.peek();
        if next.lexeme == Lexeme::Symbol("*") {
            let help = Some("use `jsonpath(x, \"$.items[*]\")` for several values, or `any`, `all`, `map`".to_owned());
            return Err(fault("`[*]` selects several values", help, next.start, next.end));
        }
        let inner = self.expression()?;
        self.expect("]", open.start)?;
        let kind = match inner.kind {
            Kind::Literal(Value::Int(index)) => StepKind::Index(index),
            Kind::Literal(Value::Text(key)) => StepKind::Key(key.to_string()),
            _ => StepKind::Computed(inner),
        };
        self.step(node, Step { kind, optional }, start)
    }

    fn step(&mut self, node: Node, step: Step, start: usize) -> Parse<Node> {
        let mut path = match node.kind {
            Kind::Path(path) => path,
            _ => Box::new(Path { root: Root::Node(node), steps: Vec::new() }),
        };
        path.steps.push(step);
        self.node(Kind::Path(path), start)
    }

    fn root(&mut self, root: Root, start: usize) -> Parse<Node> {
        self.node(Kind::Path(Box::new(Path { root, steps: Vec::new() })), start)
    }

    /// An operand alone.
    pub(super) fn primary(&mut self) -> Parse<Node> {
        let token = self.peek();
        match token.lexeme {
            Lexeme::Number(text) => {
                self.bump();
                let Some(value) = literals::number(text) else {
                    let help = Some("names start with a letter; put texts in quotes".to_owned());
                    return Err(fault(format!("`{text}` is not a number"), help, token.start, token.end));
                };
                self.node(Kind::Literal(value), token.start)
            }
            Lexeme::Quote(quote) => {
                self.bump();
                self.text(token, quote)
            }
            Lexeme::Word(word) => {
                self.bump();
                self.word(word, token)
            }
            Lexeme::Symbol("(") => {
                self.bump();
                let inner = self.expression()?;
                self.expect(")", token.start)?;
                Ok(inner)
            }
            Lexeme::Symbol("[") => self.list(),
            Lexeme::Symbol("{") => self.map(),
            Lexeme::Symbol("${" | "{{") => self.reference(),
            Lexeme::Symbol("$") => {
                self.bump();
                match self.peek() {
                    Token { lexeme: Lexeme::Word(word), start, .. } if start == token.end => {
                        self.bump();
                        self.root(Root::Name(word.to_owned()), token.start)
                    }
                    _ => self.root(Root::Dollar, token.start),
                }
            }
            Lexeme::Symbol("#") if self.predicates > 0 => {
                self.bump();
                self.root(Root::Item, token.start)
            }
            Lexeme::Symbol("." | "?.") if self.predicates > 0 => {
                // The point itself is left for `postfix`: `.price` is `#.price`.
                self.seek(token.start);
                self.root(Root::Item, token.start)
            }
            Lexeme::Symbol("#" | ".") => {
                let help = Some("it stands for the item inside `any`, `all`, `filter`, `map` …".to_owned());
                let found = &self.lexer.text[token.start..token.end];
                Err(fault(format!("`{found}` means something only in a predicate"), help, token.start, token.end))
            }
            _ => {
                let error = self.unexpected("a value", token);
                self.bump();
                Err(error)
            }
        }
    }

    fn word(&mut self, word: &'s str, token: Token<'s>) -> Parse<Node> {
        let literal = match word {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" | "nil" => Some(Value::Null),
            _ => None,
        };
        if let Some(value) = literal {
            return self.node(Kind::Literal(value), token.start);
        }
        if matches!(self.peek().lexeme, Lexeme::Symbol("(")) {
            return self.call(word, (token.start, token.end), None, token.start);
        }
        if word == "fake"
            && self.lexer.text[token.end..].starts_with('.')
            && let Some(fake) = self.fake(token)?
        {
            return Ok(fake);
        }
        self.root(Root::Name(word.to_owned()), token.start)
    }

    /// `fake.kind()`; `None` when no call follows, so that `fake` may be a variable.
    fn fake(&mut self, token: Token<'s>) -> Parse<Option<Node>> {
        self.seek(token.end + 1);
        let kind = self.lexer.key();
        let after = self.lexer.at;
        if kind.is_empty() || !self.lexer.rest().starts_with('(') {
            self.seek(token.end);
            return Ok(None);
        }
        self.seek(after);
        self.bump();
        self.expect(")", after)?;
        let Some((name, _)) = crate::builtins::FAKES.iter().find(|(name, _)| *name == kind) else {
            let near = super::nearest(kind, crate::builtins::FAKES.iter().map(|(name, _)| *name));
            let help = near.map(|near| format!("did you mean `fake.{near}`?"));
            self.errors.push(fault(format!("`fake.{kind}` does not exist"), help, token.start, after));
            return self.node(Kind::Literal(Value::Null), token.start).map(Some);
        };
        self.node(Kind::Fake(name), token.start).map(Some)
    }

    /// A call; the opening parenthesis comes next. `receiver` is the first argument of `x.f()`.
    fn call(&mut self, name: &str, at: (usize, usize), receiver: Option<Node>, start: usize) -> Parse<Node> {
        let function = functions::find(name);
        let open = self.bump();
        let mut args: Vec<Node> = receiver.into_iter().collect();
        while !self.eat(")") {
            if args.len() > 64 {
                return Err(fault(format!("`{name}` has too many arguments"), None, at.0, at.1));
            }
            let arg = if function.is_some_and(|function| function.predicate) && args.len() == 1 {
                self.predicate()?
            } else {
                self.expression()?
            };
            args.push(arg);
            if !self.eat(",") {
                self.expect(")", open.start)?;
                break;
            }
        }
        let Some(function) = function else { return self.operator_call(name, at, args, start) };
        if !(function.arity.0..=function.arity.1).contains(&args.len()) {
            let message = format!("`{name}` takes {}, not {}", function.takes(), args.len());
            self.errors.push(fault(message, None, at.0, self.last_end));
        }
        self.node(Kind::Call(function, args), start)
    }

    /// `contains(a, b)` and the like: operators written as functions.
    fn operator_call(&mut self, name: &str, at: (usize, usize), args: Vec<Node>, start: usize) -> Parse<Node> {
        let operator = word_operator(name).filter(|operator| !matches!(operator, Operator::And | Operator::Or));
        let wanted = match name {
            "exists" => 1,
            "matches" => 2,
            _ if operator.is_some() => 2,
            _ => {
                let help = super::nearest(name, functions::NAMES.iter().copied())
                    .map(|near| format!("did you mean `{near}`?"));
                self.errors.push(fault(format!("function `{name}` does not exist"), help, at.0, at.1));
                return self.node(Kind::Literal(Value::Null), start);
            }
        };
        if args.len() != wanted {
            let plural = if wanted == 1 { "argument" } else { "arguments" };
            let message = format!("`{name}` takes {wanted} {plural}, not {}", args.len());
            self.errors.push(fault(message, None, at.0, self.last_end));
            return self.node(Kind::Literal(Value::Null), start);
        }
        let mut args = args.into_iter();
        match (args.next(), args.next(), operator) {
            (Some(left), Some(right), Some(operator)) => {
                self.node(Kind::Binary(operator, Box::new((left, right))), start)
            }
            (Some(left), Some(right), None) => self.matches(left, right, start),
            (Some(only), _, _) => self.node(Kind::Exists(Box::new(only)), start),
            (None, ..) => self.node(Kind::Literal(Value::Null), start),
        }
    }

    /// `{ .price > 10 }`, or the same without braces.
    fn predicate(&mut self) -> Parse<Node> {
        self.predicates += 1;
        let start = self.peek().start;
        let braced = matches!(self.peek().lexeme, Lexeme::Symbol("{")) && self.eat("{");
        let node = self.expression();
        self.predicates -= 1;
        let node = node?;
        if braced {
            self.expect("}", start)?;
        }
        Ok(node)
    }

    fn list(&mut self) -> Parse<Node> {
        let open = self.bump();
        let mut items = Vec::new();
        while !self.eat("]") {
            items.push(self.expression()?);
            if !self.eat(",") {
                self.expect("]", open.start)?;
                break;
            }
        }
        self.node(Kind::List(items), open.start)
    }

    fn map(&mut self) -> Parse<Node> {
        let open = self.bump();
        let mut entries: Vec<(ByteString, Node)> = Vec::new();
        while !self.eat("}") {
            let token = self.bump();
            let key: ByteString = match token.lexeme {
                Lexeme::Word(word) => word.into(),
                Lexeme::Number(number) => number.into(),
                Lexeme::Quote(quote) => match self.text(token, quote)?.kind {
                    Kind::Literal(Value::Text(key)) => key,
                    _ => return Err(fault("a key holds no reference", None, token.start, self.last_end)),
                },
                _ => return Err(self.unexpected("a key", token)),
            };
            self.expect(":", token.start)?;
            entries.push((key, self.expression()?));
            if !self.eat(",") {
                self.expect("}", open.start)?;
                break;
            }
        }
        self.node(Kind::Map(entries), open.start)
    }
}
