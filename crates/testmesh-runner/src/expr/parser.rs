//! From text to tree: a Pratt parser over the [`super::lexer`].
//!
//! Mistakes that leave the structure clear (an unknown function, a wrong arity, `=` for `==`) are collected and the
//! parser goes on; any other ends the part it stands in. Depth is limited, so no text can exhaust the stack.

use super::SyntaxError;
use super::ast::{COMPARISON, Kind, Node, Operator, Piece, Root, Sort, StepKind};
use super::lexer::{Lexeme, Lexer, Token};
use super::literals;

/// How deep brackets and prefixes may nest.
const MAX_NESTING: usize = 48;
/// How deep a tree may be; chains of operators count too.
const MAX_DEPTH: usize = 256;

pub(super) type Parse<T> = Result<T, SyntaxError>;

/// The state of a parse.
pub(crate) struct Parser<'s> {
    pub(super) lexer: Lexer<'s>,
    peeked: Option<Token<'s>>,
    pub(super) errors: Vec<SyntaxError>,
    nesting: usize,
    /// How many predicates are open: `#` and `.x` mean something there alone.
    pub(super) predicates: usize,
    /// Where the last token ended.
    pub(super) last_end: usize,
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let mut parser = Parser::at(text, 0);
    let mut root = None;
    match parser.whole() {
        Ok(node) => root = Some(node),
        Err(error) => {
            // An operator in the wrong place is where the next part starts; any other mistake ends where it ends.
            let junction = matches!(text.get(error.start..error.end), Some("&&" | "||"));
            let from = if junction { error.start } else { error.end };
            parser.errors.push(error);
            parser.resume(from);
        }
    }
    match root {
        Some(node) if parser.errors.is_empty() => Ok(node),
        _ => {
            let mut errors = parser.errors;
            errors.sort_by_key(|error| error.start);
            errors.dedup_by_key(|error| error.start);
            Err(errors)
        }
    }
}

impl<'s> Parser<'s> {
    /// A parser of `text` from byte `at`.
    pub(crate) fn at(text: &'s str, at: usize) -> Parser<'s> {
        Parser { lexer: Lexer { text, at }, peeked: None, errors: Vec::new(), nesting: 0, predicates: 0, last_end: at }
    }

    fn whole(&mut self) -> Parse<Node> {
        if self.peek().lexeme == Lexeme::End {
            let help = Some("write a condition, for example `status == 200`".to_owned());
            return Err(fault("the expression is empty", help, 0, self.lexer.text.len()));
        }
        let node = self.expression()?;
        let next = self.peek();
        if next.lexeme == Lexeme::End { Ok(node) } else { Err(self.unexpected("an operator or the end", next)) }
    }

    /// After a mistake, parses the rest from the next `&&` or `||` for the mistakes in it.
    fn resume(&mut self, from: usize) {
        let mut here = from;
        while let Some(found) = next_junction(&self.lexer.text[here..]) {
            here += found + 2;
            self.seek(here);
            self.nesting = 0;
            self.predicates = 0;
            if self.peek().lexeme == Lexeme::End {
                return;
            }
            match self.whole() {
                Ok(_) => return,
                Err(error) => self.errors.push(error),
            }
            here = here.max(self.last_end);
        }
    }

    /// The mistakes that did not end the parse.
    pub(crate) fn take_errors(&mut self) -> Vec<SyntaxError> {
        std::mem::take(&mut self.errors)
    }

    // Tokens.

    pub(super) fn peek(&mut self) -> Token<'s> {
        match self.peeked {
            Some(token) => token,
            None => *self.peeked.insert(self.lexer.next()),
        }
    }

    pub(super) fn bump(&mut self) -> Token<'s> {
        let token = self.peek();
        self.peeked = None;
        self.last_end = token.end;
        token
    }

    /// Goes on at byte `at`.
    pub(super) fn seek(&mut self, at: usize) {
        self.peeked = None;
        self.lexer.at = at;
        self.last_end = at;
    }

    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        let found = self.peek().lexeme == Lexeme::Symbol("{{") && symbol == "{";
        if found {
            // Two braces that are no reference here: the first is taken alone.
            let start = self.peek().start;
            self.seek(start + 1);
            return true;
        }
        let found = matches!(self.peek().lexeme, Lexeme::Symbol(found) if found == symbol);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek().lexeme == Lexeme::Word(word);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn expect(&mut self, symbol: &str, opened: usize) -> Parse<()> {
        if self.eat(symbol) {
            return Ok(());
        }
        let next = self.peek();
        if next.lexeme == Lexeme::End {
            let open = self.lexer.text[opened..].chars().next().unwrap_or(' ');
            return Err(fault(
                format!("`{open}` is never closed"),
                Some(format!("add `{symbol}`")),
                opened,
                next.start,
            ));
        }
        Err(self.unexpected(&format!("`{symbol}`"), next))
    }

    pub(super) fn unexpected(&self, wanted: &str, found: Token<'s>) -> SyntaxError {
        let text = &self.lexer.text[found.start..found.end];
        let (message, help) = match found.lexeme {
            Lexeme::End => (format!("expected {wanted}, found the end"), None),
            Lexeme::Unknown(';') => (format!("expected {wanted}, found `;`"), None),
            Lexeme::Symbol("{{" | "${") | Lexeme::Word(_) | Lexeme::Number(_) | Lexeme::Quote(_) => (
                format!("expected {wanted}, found `{text}`"),
                Some("put an operator between the two, for example `==`, `&&` or `contains`".to_owned()),
            ),
            Lexeme::Unknown(other) => {
                (format!("`{}` means nothing in an expression", other.escape_debug()), unknown_help(other))
            }
            Lexeme::Symbol(symbol) => (format!("expected {wanted}, found `{symbol}`"), None),
        };
        let help = help.filter(|_| wanted.contains("operator") || matches!(found.lexeme, Lexeme::Unknown(_)));
        fault(message, help, found.start, found.end)
    }

    pub(super) fn node(&self, kind: Kind, start: usize) -> Parse<Node> {
        let node = Node::new(kind, start, self.last_end);
        if node.depth > MAX_DEPTH { Err(too_deep(start, self.last_end)) } else { Ok(node) }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.nesting >= MAX_NESTING {
            let at = self.peek();
            return Err(too_deep(at.start, at.end));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    // Operators.

    pub(super) fn expression(&mut self) -> Parse<Node> {
        self.deeper(|parser| {
            let start = parser.peek().start;
            let condition = parser.binary(0)?;
            if !parser.eat("?") {
                return Ok(condition);
            }
            let yes = parser.expression()?;
            parser.expect(":", start)?;
            let no = parser.expression()?;
            parser.node(Kind::Choose(Box::new((condition, yes, no))), start)
        })
    }

    fn binary(&mut self, least: u8) -> Parse<Node> {
        let start = self.peek().start;
        let mut left = self.prefix()?;
        let mut n_compared = 0;
        while let Some(infix) = self.infix() {
            if infix.binding() < least {
                break;
            }
            if infix.binding() == COMPARISON {
                n_compared += 1;
                if n_compared == 2 {
                    let error = self.chained();
                    self.errors.push(error);
                }
            }
            if infix.binding() < COMPARISON {
                n_compared = 0;
            }
            left = self.apply(infix, left, start)?;
        }
        Ok(left)
    }

    fn chained(&mut self) -> SyntaxError {
        let next = self.peek();
        let help = Some("join two comparisons with `&&`, or put one in parentheses".to_owned());
        fault("comparisons cannot be chained", help, next.start, next.end)
    }

    /// What stands between two operands, without taking it.
    fn infix(&mut self) -> Option<Infix> {
        let next = self.peek();
        Some(match next.lexeme {
            Lexeme::Symbol(symbol) => Infix::Operator(match symbol {
                "||" => Operator::Or,
                "&&" => Operator::And,
                "==" | "=" | "===" => Operator::Equal,
                "!=" | "!==" => Operator::NotEqual,
                "<" => Operator::Less,
                "<=" => Operator::LessOrEqual,
                ">" => Operator::Greater,
                ">=" => Operator::GreaterOrEqual,
                "??" => Operator::Coalesce,
                "+" => Operator::Add,
                "-" => Operator::Subtract,
                "*" => Operator::Multiply,
                "/" => Operator::Divide,
                "%" => Operator::Remainder,
                _ => return None,
            }),
            Lexeme::Word(word) => match word {
                "not" => Infix::Not,
                "is" => Infix::Is,
                "exists" => Infix::Exists,
                "matches" => Infix::Matches,
                "matches_schema" => Infix::Schema,
                "match_snapshot" | "matches_snapshot" => Infix::Snapshot,
                _ => Infix::Operator(word_operator(word)?),
            },
            _ => return None,
        })
    }

    fn apply(&mut self, infix: Infix, left: Node, start: usize) -> Parse<Node> {
        let token = self.bump();
        match infix {
            Infix::Operator(operator) => {
                self.report_wrong_equals(token);
                let least = if operator == Operator::Coalesce { operator.binding() } else { operator.binding() + 1 };
                let right = self.deeper(|parser| parser.binary(least))?;
                self.node(Kind::Binary(operator, Box::new((left, right))), start)
            }
            Infix::Not => {
                let Some(inner) = self.infix().filter(|inner| inner.follows_not()) else {
                    let next = self.peek();
                    return Err(self.unexpected("`in`, `contains`, `matches`, `exists` … after `not`", next));
                };
                let inner = self.apply(inner, left, start)?;
                self.node(Kind::Not(Box::new(inner)), start)
            }
            Infix::Is => self.sort(left, start),
            Infix::Exists => self.node(Kind::Exists(Box::new(left)), start),
            Infix::Matches => {
                let pattern = self.deeper(|parser| parser.binary(COMPARISON + 1))?;
                self.matches(left, pattern, start)
            }
            Infix::Schema => {
                let schema = self.deeper(|parser| parser.binary(COMPARISON + 1))?;
                self.node(Kind::Schema(Box::new((left, schema))), start)
            }
            Infix::Snapshot => {
                let next = self.peek();
                let Lexeme::Quote(_) = next.lexeme else {
                    return Err(self.unexpected("the snapshot's name in quotes", next));
                };
                match self.primary()?.kind {
                    Kind::Literal(crate::value::Value::Text(name)) => {
                        self.node(Kind::Snapshot(Box::new(left), name), start)
                    }
                    _ => Err(fault("a snapshot's name holds no reference", None, next.start, self.last_end)),
                }
            }
        }
    }

    fn report_wrong_equals(&mut self, token: Token<'s>) {
        let (found, wanted) = match token.lexeme {
            Lexeme::Symbol("=") => ("=", "=="),
            Lexeme::Symbol("===") => ("===", "=="),
            Lexeme::Symbol("!==") => ("!==", "!="),
            _ => return,
        };
        let help = Some(format!("compare with `{wanted}`"));
        self.errors.push(fault(format!("`{found}` is not an operator"), help, token.start, token.end));
    }

    /// `is [not] <sort>`, after the `is`.
    fn sort(&mut self, left: Node, start: usize) -> Parse<Node> {
        let negated = self.eat_word("not");
        let next = self.bump();
        let Lexeme::Word(word) = next.lexeme else {
            let mut error = self.unexpected("a type after `is`", next);
            error.help = Some("compare values with `==`; `is` takes `null`, `string`, `number`, `empty` …".to_owned());
            return Err(error);
        };
        let Some((_, sort)) = Sort::WORDS.iter().find(|(known, _)| *known == word) else {
            let words = Sort::WORDS.iter().map(|(word, _)| *word);
            let help = super::nearest(word, words).map_or_else(
                || "use `null`, `string`, `number`, `boolean`, `array`, `object` or `empty`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(fault(format!("`{word}` is not a type"), Some(help), next.start, next.end));
        };
        let node = self.node(Kind::Is(Box::new(left), *sort), start)?;
        if negated { self.node(Kind::Not(Box::new(node)), start) } else { Ok(node) }
    }

    /// `left matches pattern`, the pattern compiled here when it is a literal.
    pub(super) fn matches(&mut self, left: Node, pattern: Node, start: usize) -> Parse<Node> {
        let mut compiled = None;
        if let Kind::Literal(value) = &pattern.kind {
            match value.as_str().map(regex::Regex::new) {
                Some(Ok(regex)) => compiled = Some(regex),
                Some(Err(error)) => {
                    let (message, help) = super::eval::pattern_fault(value.as_str().unwrap_or_default(), &error);
                    self.errors.push(fault(message, help, pattern.start, pattern.end));
                }
                None => {
                    let help = Some("write the pattern as text: `matches \"^[0-9]+$\"`".to_owned());
                    let message = format!("a pattern is text, not {}", super::explain::with_article(value));
                    self.errors.push(fault(message, help, pattern.start, pattern.end));
                }
            }
        }
        self.node(Kind::Matches(Box::new((left, pattern)), compiled), start)
    }

    fn prefix(&mut self) -> Parse<Node> {
        let first = self.peek();
        let start = first.start;
        let is_operand = match first.lexeme {
            Lexeme::Word(word) => word != "not",
            Lexeme::Number(_) | Lexeme::Quote(_) => true,
            Lexeme::Symbol(_) | Lexeme::Unknown(_) | Lexeme::End => false,
        };
        if is_operand {
            return self.postfix();
        }
        if self.eat_word("not") {
            let inner = self.deeper(|parser| parser.binary(COMPARISON))?;
            return self.node(Kind::Not(Box::new(inner)), start);
        }
        if self.eat("!") {
            let inner = self.deeper(Self::prefix)?;
            return self.node(Kind::Not(Box::new(inner)), start);
        }
        if self.eat("-") {
            let inner = self.deeper(Self::prefix)?;
            if let Some(negated) = literals::negated(&inner.kind) {
                return self.node(Kind::Literal(negated), start);
            }
            return self.node(Kind::Negate(Box::new(inner)), start);
        }
        if self.eat("+") {
            return self.deeper(Self::prefix);
        }
        self.postfix()
    }

    // References.

    /// A reference that starts at byte `at` with `${` or `{{`: its value, and the byte after its end.
    pub(crate) fn reference_at(&mut self, at: usize) -> Parse<(Node, usize)> {
        self.seek(at);
        let node = self.deeper(Self::reference)?;
        let end = self.last_end;
        self.peeked = None;
        Ok((node, end))
    }

    /// A reference; the opening braces come next.
    pub(super) fn reference(&mut self) -> Parse<Node> {
        let open = self.bump();
        let curly = open.lexeme == Lexeme::Symbol("{{");
        let close = if curly { "}}" } else { "}" };
        let opening = &self.lexer.text[open.start..open.end];
        if self.peek().lexeme == Lexeme::Symbol("}") {
            let end = (self.peek().end + usize::from(curly)).min(self.lexer.text.len());
            let help = Some(format!("name a variable, or write `{}` for the braces themselves", escape_of(curly)));
            return Err(fault(format!("`{opening}{close}` is empty"), help, open.start, end));
        }
        let inner = self.expression().map_err(|error| in_reference(error, open))?;
        let next = self.peek();
        if next.lexeme == Lexeme::Symbol(":") && is_plain_path(&inner) {
            return self.default(inner, open, close);
        }
        let closed = self.lexer.text[next.start..].starts_with(close);
        if closed {
            self.seek(next.start + close.len());
            // The node covers the inner part alone: names are pointed at without their braces.
            return Ok(inner);
        }
        let error = if next.lexeme == Lexeme::End {
            let help = Some(format!("add `{close}`, or write `{}` for the braces themselves", escape_of(curly)));
            fault(format!("`{opening}` is never closed"), help, open.start, next.start)
        } else {
            self.unexpected(&format!("an operator or `{close}`"), next)
        };
        Err(in_reference(error, open))
    }

    /// `:text` after a path, up to the closing braces.
    fn default(&mut self, path: Node, open: Token<'s>, close: &str) -> Parse<Node> {
        let colon = self.bump();
        let rest = &self.lexer.text[colon.end..];
        let length = if close == "}}" { rest.find("}}") } else { closing_brace(rest) };
        let Some(length) = length else {
            let help = Some(format!("add `{close}`"));
            let opening = &self.lexer.text[open.start..open.end];
            return Err(fault(format!("`{opening}` is never closed"), help, open.start, self.lexer.text.len()));
        };
        let text = rest[..length].trim().into();
        self.seek(colon.end + length + close.len());
        self.node(Kind::Default(Box::new(path), text), open.start)
    }

    /// A text with references, from the opening quote at `open` on.
    pub(super) fn text(&mut self, open: Token<'s>, quote: char) -> Parse<Node> {
        let pieces = literals::text(self, open, quote)?;
        let kind = match pieces.as_slice() {
            [] => Kind::Literal(crate::value::Value::from("")),
            [Piece::Text(text)] => Kind::Literal(crate::value::Value::Text(text.clone())),
            _ => Kind::Text(pieces),
        };
        self.node(kind, open.start)
    }
}

/// What stands between two operands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Infix {
    Operator(Operator),
    Not,
    Is,
    Exists,
    Matches,
    Schema,
    Snapshot,
}

impl Infix {
    fn binding(self) -> u8 {
        match self {
            Infix::Operator(operator) => operator.binding(),
            Infix::Not | Infix::Is | Infix::Exists | Infix::Matches | Infix::Schema | Infix::Snapshot => COMPARISON,
        }
    }

    fn follows_not(self) -> bool {
        match self {
            Infix::Operator(operator) => {
                matches!(operator, Operator::In | Operator::Contains | Operator::StartsWith | Operator::EndsWith)
            }
            Infix::Exists | Infix::Matches | Infix::Schema | Infix::Snapshot => true,
            Infix::Not | Infix::Is => false,
        }
    }
}

/// The operator that a word is.
pub(super) fn word_operator(word: &str) -> Option<Operator> {
    Some(match word {
        "and" => Operator::And,
        "or" => Operator::Or,
        "in" => Operator::In,
        "contains" => Operator::Contains,
        "startsWith" | "starts_with" => Operator::StartsWith,
        "endsWith" | "ends_with" => Operator::EndsWith,
        _ => return None,
    })
}

/// A mistake at these bytes.
pub(super) fn fault(message: impl Into<String>, help: Option<String>, start: usize, end: usize) -> SyntaxError {
    SyntaxError { message: message.into(), help, start, end: end.max(start) }
}

/// The same mistake, with the way out for braces that were no reference.
fn in_reference(mut error: SyntaxError, open: Token<'_>) -> SyntaxError {
    let curly = open.lexeme == Lexeme::Symbol("{{");
    error.help.get_or_insert_with(|| format!("for the braces themselves write `{}`", escape_of(curly)));
    error
}

fn too_deep(start: usize, end: usize) -> SyntaxError {
    fault("the expression is nested too deeply", Some("split it into several".to_owned()), start, end)
}

fn escape_of(curly: bool) -> &'static str {
    if curly { "\\{{" } else { "$${" }
}

fn unknown_help(found: char) -> Option<String> {
    let help = match found {
        '&' => "write `&&` or `and`",
        '|' => "write `||` or `or`",
        '~' => "write `matches` for a regular expression",
        '`' => "quote texts with `\"` or `'`",
        '“' | '”' | '‘' | '’' => "use straight quotes",
        _ => return None,
    };
    Some(help.to_owned())
}

/// Only a path of names and indexes can have a default text: after anything else a `:` belongs to `? :`.
fn is_plain_path(node: &Node) -> bool {
    match &node.kind {
        Kind::Path(path) => {
            !matches!(path.root, Root::Node(_))
                && path.steps.iter().all(|step| !matches!(step.kind, StepKind::Computed(_)))
        }
        _ => false,
    }
}

/// Where the brace that closes `text` is; inner ones come in pairs.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn next_junction(text: &str) -> Option<usize> {
    match (text.find("&&"), text.find("||")) {
        (Some(and), Some(or)) => Some(and.min(or)),
        (and, or) => and.or(or),
    }
}

/// Whether braces in a default's text come in pairs, so that it can be printed between `${` and `}`.
pub(super) fn is_balanced(text: &str) -> bool {
    closing_brace(&format!("{text}}}")) == Some(text.len())
}
