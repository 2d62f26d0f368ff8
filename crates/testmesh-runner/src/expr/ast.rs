//! The tree of an expression. Two trees are equal when they mean the same, wherever they stand in a text.

use bytestring::ByteString;
use regex::Regex;

use super::functions::Function;
use crate::value::Value;

/// A part of an expression and the bytes it was parsed from.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// How deep the tree below is, so that no later walk can run out of stack.
    pub(super) depth: usize,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A value that was written down.
    Literal(Value),
    /// A text literal with references in it.
    Text(Vec<Piece>),
    /// `[a, b]`.
    List(Vec<Node>),
    /// `{a: b}`.
    Map(Vec<(ByteString, Node)>),
    /// `a.b[0]`.
    Path(Box<Path>),
    /// `not a`.
    Not(Box<Node>),
    /// `-a`.
    Negate(Box<Node>),
    /// `a == b` and every other operator of two sides.
    Binary(Operator, Box<(Node, Node)>),
    /// `a matches b`, with the pattern compiled when it is a literal.
    Matches(Box<(Node, Node)>, Option<Regex>),
    /// `a ? b : c`.
    Choose(Box<(Node, Node, Node)>),
    /// `len(a)`; a predicate stands among the arguments.
    Call(&'static Function, Vec<Node>),
    /// `fake.email()`.
    Fake(&'static str),
    /// `a exists`.
    Exists(Box<Node>),
    /// `a is string`.
    Is(Box<Node>, Sort),
    /// `a matches_schema b`: a text names a file, a map is the schema itself.
    Schema(Box<(Node, Node)>),
    /// `a match_snapshot "name"`.
    Snapshot(Box<Node>, ByteString),
    /// `${a:text}`.
    Default(Box<Node>, ByteString),
}

/// A piece of a text with references.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// Text as it is.
    Text(ByteString),
    /// A reference.
    Reference(Node),
}

/// A root and the steps from it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) steps: Vec<Step>,
}

/// Where a path starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Root {
    /// A name of the scope.
    Name(String),
    /// `$`: the result's root.
    Dollar,
    /// `#`: the item a predicate looks at.
    Item,
    /// Any other expression.
    Node(Node),
}

/// One step along a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) kind: StepKind,
    /// Written with `?.`.
    pub(super) optional: bool,
}

/// What a step takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StepKind {
    /// A member.
    Key(String),
    /// An item.
    Index(i64),
    /// A member or an item that is computed.
    Computed(Node),
}

/// An operator of two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Contains,
    StartsWith,
    EndsWith,
    Coalesce,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// What `is` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Null,
    Text,
    Number,
    Integer,
    Boolean,
    List,
    Map,
    Empty,
    True,
    False,
}

impl Operator {
    /// As it is printed.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Operator::Or => "||",
            Operator::And => "&&",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::In => "in",
            Operator::Contains => "contains",
            Operator::StartsWith => "startsWith",
            Operator::EndsWith => "endsWith",
            Operator::Coalesce => "??",
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Remainder => "%",
        }
    }

    /// How tightly it binds; a greater number binds tighter.
    pub(super) fn binding(self) -> u8 {
        match self {
            Operator::Or => 1,
            Operator::And => 2,
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual
            | Operator::In
            | Operator::Contains
            | Operator::StartsWith
            | Operator::EndsWith => COMPARISON,
            Operator::Coalesce => 5,
            Operator::Add | Operator::Subtract => 6,
            Operator::Multiply | Operator::Divide | Operator::Remainder => 7,
        }
    }
}

/// How tightly comparisons and the word forms bind.
pub(super) const COMPARISON: u8 = 4;

impl Sort {
    /// Every word after `is`, the first of a kind being the one that is printed.
    pub(super) const WORDS: &'static [(&'static str, Sort)] = &[
        ("null", Sort::Null),
        ("nil", Sort::Null),
        ("string", Sort::Text),
        ("text", Sort::Text),
        ("number", Sort::Number),
        ("float", Sort::Number),
        ("integer", Sort::Integer),
        ("int", Sort::Integer),
        ("boolean", Sort::Boolean),
        ("bool", Sort::Boolean),
        ("array", Sort::List),
        ("list", Sort::List),
        ("object", Sort::Map),
        ("map", Sort::Map),
        ("empty", Sort::Empty),
        ("true", Sort::True),
        ("false", Sort::False),
    ];

    /// As it is printed.
    pub(super) fn word(self) -> &'static str {
        Sort::WORDS.iter().find(|(_, sort)| *sort == self).map_or("", |(word, _)| word)
    }

    /// Whether `value` is of this sort.
    pub(super) fn holds(self, value: &Value) -> bool {
        match self {
            Sort::Null => value.is_null(),
            Sort::Text => matches!(value, Value::Text(_)),
            Sort::Number => crate::value::is_number(value),
            Sort::Integer => matches!(value, Value::Int(_) | Value::UInt(_)) || value.as_i64().is_some(),
            Sort::Boolean => matches!(value, Value::Bool(_)),
            Sort::List => value.is_list(),
            Sort::Map => value.is_map(),
            Sort::Empty => value.is_empty(),
            Sort::True => value.as_bool() == Some(true),
            Sort::False => value.as_bool() == Some(false),
        }
    }
}

impl Node {
    /// A node over these bytes of the text.
    pub(super) fn new(kind: Kind, start: usize, end: usize) -> Node {
        let mut depth = 0;
        kind.each_child(&mut |child| depth = depth.max(child.depth));
        Node { kind, start, end, depth: depth + 1 }
    }
}

impl Kind {
    /// Calls `visit` with every node directly below.
    pub(super) fn each_child<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        match self {
            Kind::Literal(_) | Kind::Fake(_) => {}
            Kind::Text(pieces) => pieces.iter().for_each(|piece| {
                if let Piece::Reference(node) = piece {
                    visit(node);
                }
            }),
            Kind::List(items) | Kind::Call(_, items) => items.iter().for_each(visit),
            Kind::Map(entries) => entries.iter().for_each(|(_, node)| visit(node)),
            Kind::Path(path) => {
                if let Root::Node(node) = &path.root {
                    visit(node);
                }
                for step in &path.steps {
                    if let StepKind::Computed(node) = &step.kind {
                        visit(node);
                    }
                }
            }
            Kind::Not(node)
            | Kind::Negate(node)
            | Kind::Exists(node)
            | Kind::Is(node, _)
            | Kind::Snapshot(node, _)
            | Kind::Default(node, _) => visit(node),
            Kind::Binary(_, sides) | Kind::Matches(sides, _) | Kind::Schema(sides) => {
                visit(&sides.0);
                visit(&sides.1);
            }
            Kind::Choose(parts) => {
                visit(&parts.0);
                visit(&parts.1);
                visit(&parts.2);
            }
        }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        match (self, other) {
            (Kind::Literal(left), Kind::Literal(right)) => left == right,
            (Kind::Text(left), Kind::Text(right)) => left == right,
            (Kind::List(left), Kind::List(right)) => left == right,
            (Kind::Map(left), Kind::Map(right)) => left == right,
            (Kind::Path(left), Kind::Path(right)) => left == right,
            (Kind::Not(left), Kind::Not(right))
            | (Kind::Negate(left), Kind::Negate(right))
            | (Kind::Exists(left), Kind::Exists(right)) => left == right,
            (Kind::Binary(left_op, left), Kind::Binary(right_op, right)) => left_op == right_op && left == right,
            (Kind::Matches(left, _), Kind::Matches(right, _)) | (Kind::Schema(left), Kind::Schema(right)) => {
                left == right
            }
            (Kind::Choose(left), Kind::Choose(right)) => left == right,
            (Kind::Call(left, left_args), Kind::Call(right, right_args)) => {
                left.name == right.name && left_args == right_args
            }
            (Kind::Fake(left), Kind::Fake(right)) => left == right,
            (Kind::Is(left, left_sort), Kind::Is(right, right_sort)) => left_sort == right_sort && left == right,
            (Kind::Snapshot(left, left_name), Kind::Snapshot(right, right_name))
            | (Kind::Default(left, left_name), Kind::Default(right, right_name)) => {
                left_name == right_name && left == right
            }
            _ => false,
        }
    }
}
