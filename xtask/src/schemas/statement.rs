//! One SQL text, parsed: which tables it names, and the habits that every statement keeps.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use sqlparser::ast::{
    ColumnOption, CreateTable, LimitClause, ObjectName, ObjectNamePart, ObjectType, Query, Select, SelectItem, Spanned,
    Statement, TableConstraint, Visit, Visitor,
};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::finding::{Finding, Rule};

/// Functions that are used like tables.
const TABLE_FUNCTIONS: &[&str] = &["json_each", "json_tree"];

const SYNTAX: Rule = Rule {
    name: "sql-syntax",
    reason: "what cannot be parsed cannot be checked",
    remedy: "correct the statement; one file holds one statement, a migration any number",
};

const SCHEMA: Rule = Rule {
    name: "foreign-schema",
    reason: "a domain reads and writes its own tables alone, so that each can have a database of its own",
    remedy: "write `schema.table` with the domain's own schema; what belongs to another domain is asked for through its trait",
};

const CASE: Rule = Rule {
    name: "sql-case",
    reason: "one spelling of every keyword, table and column makes them easy to find",
    remedy: "write it in lower case",
};

const STAR: Rule = Rule {
    name: "select-star",
    reason: "a column that a migration adds must not change what running code reads",
    remedy: "name the columns",
};

const OFFSET: Rule = Rule {
    name: "offset-page",
    reason: "an offset reads all it skips, and skips or repeats rows when others are inserted",
    remedy: "page by key: `(created_at, id) < ($1, $2)`",
};

const KIND: Rule = Rule {
    name: "statement-kind",
    reason: "logic in the database (views, triggers) cannot be seen in the code that runs it, and pragmas are the connection's",
    remedy: "do it in the domain's code; migrations create, alter and drop tables and indexes, and change rows",
};

/// Checks a statement of a crate: one that reads or changes rows, in the tables of `schema` alone. No schema (`""`): it
/// may name no table.
pub(super) fn check_statement(root: &Path, path: &Path, text: &str, schema: &str) -> Vec<Finding> {
    let mut check = Check { root, path, schema, findings: Vec::new(), names: BTreeSet::new() };
    let statements = check.parse(text);
    if statements.len() > 1 {
        check.report(statements[1].span().start.line, &SYNTAX, "a second statement");
    }
    for statement in &statements {
        match statement {
            Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                check.visit(statement);
            }
            other => check.report(other.span().start.line, &KIND, "not a select, insert, update or delete"),
        }
    }
    check.findings
}

/// Checks a migration of a schema.
pub(super) fn check_migration(root: &Path, path: &Path, text: &str, schema: &str) -> Vec<Finding> {
    let mut check = Check { root, path, schema, findings: Vec::new(), names: BTreeSet::new() };
    for statement in check.parse(text) {
        check.migration_statement(&statement);
    }
    check.findings
}

struct Check<'a> {
    root: &'a Path,
    path: &'a Path,
    schema: &'a str,
    findings: Vec<Finding>,
    /// What `with` names in the statement at hand.
    names: BTreeSet<String>,
}

impl Check<'_> {
    fn report(&mut self, line: u64, rule: &Rule, message: impl Into<String>) {
        let line = usize::try_from(line).unwrap_or(usize::MAX).max(1);
        self.findings.push(Finding::new(self.root, self.path, line, rule, message));
    }

    fn parse(&mut self, text: &str) -> Vec<Statement> {
        let dialect = SQLiteDialect {};
        let tokens = match Tokenizer::new(&dialect, text).tokenize_with_location() {
            Ok(tokens) => tokens,
            Err(error) => {
                self.report(error.location.line, &SYNTAX, error.message);
                return Vec::new();
            }
        };
        for token in &tokens {
            if let Token::Word(word) = &token.token
                && word.quote_style.is_none()
                && word.value.chars().any(char::is_uppercase)
            {
                self.report(token.span.start.line, &CASE, format!("`{}`", word.value));
            }
        }
        match Parser::new(&dialect).with_tokens_with_locations(without_strict_pairs(tokens)).parse_statements() {
            Ok(statements) => {
                if statements.is_empty() {
                    self.report(1, &SYNTAX, "no statement");
                }
                statements
            }
            Err(error) => {
                self.report(1, &SYNTAX, error.to_string());
                Vec::new()
            }
        }
    }

    fn visit(&mut self, statement: &Statement) {
        self.names.clear();
        // Names are gathered first: a statement may use one before the visit comes to where it is made.
        let mut gather = Names(BTreeSet::new());
        let _: ControlFlow<()> = statement.visit(&mut gather);
        self.names = gather.0;
        let _: ControlFlow<()> = statement.visit(self);
    }

    fn migration_statement(&mut self, statement: &Statement) {
        match statement {
            Statement::CreateTable(table) => {
                self.foreign_keys(table);
                self.visit(statement);
            }
            Statement::CreateIndex(index) => match &index.name {
                // SQLite wants the schema before the index, and then none before its table.
                Some(name) => self.owned(name, "index"),
                None => self.report(index.span().start.line, &SYNTAX, "an index without a name"),
            },
            Statement::Drop { object_type: ObjectType::Table | ObjectType::Index, names, .. } => {
                for name in names {
                    self.owned(name, "object");
                }
            }
            Statement::AlterTable(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                self.visit(statement);
            }
            other => {
                let text = other.to_string().to_lowercase();
                let words: Vec<_> = text.split_whitespace().take(2).collect();
                self.report(other.span().start.line, &KIND, format!("`{}`", words.join(" ")));
            }
        }
    }

    fn foreign_keys(&mut self, table: &CreateTable) {
        let of_columns =
            table.columns.iter().flat_map(|column| &column.options).filter_map(|option| match &option.option {
                ColumnOption::ForeignKey(key) => Some(key),
                _ => None,
            });
        let of_table = table.constraints.iter().filter_map(|constraint| match constraint {
            TableConstraint::ForeignKey(key) => Some(key),
            _ => None,
        });
        for key in of_columns.chain(of_table) {
            // Without a schema it is a table of the same one.
            let parts = parts(&key.foreign_table);
            if parts.len() > 1 && parts[0] != self.schema {
                let message = format!("a foreign key to `{}` leaves schema `{}`", parts.join("."), self.schema);
                self.report(line_of(&key.foreign_table), &SCHEMA, message);
            }
        }
    }

    fn owned(&mut self, name: &ObjectName, what: &str) {
        let parts = parts(name);
        if parts.len() != 2 || parts[0] != self.schema {
            let message = match self.schema {
                "" => format!("{what} `{}` in a crate that owns no schema", parts.join(".")),
                schema => format!("{what} `{}` is not in schema `{schema}`", parts.join(".")),
            };
            self.report(line_of(name), &SCHEMA, message);
        }
    }
}

impl Visitor for Check<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let parts = parts(relation);
        let known =
            parts.len() == 1 && (self.names.contains(&parts[0]) || TABLE_FUNCTIONS.contains(&parts[0].as_str()));
        if !known {
            self.owned(relation, "table");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)) {
                self.report(item.span().start.line, &STAR, "`*` instead of columns");
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let offset = match &query.limit_clause {
            Some(LimitClause::LimitOffset { offset: Some(offset), .. }) => Some(offset.value.span()),
            Some(LimitClause::OffsetCommaLimit { offset, .. }) => Some(offset.span()),
            _ => None,
        };
        if let Some(span) = offset {
            self.report(span.start.line, &OFFSET, "an offset");
        }
        ControlFlow::Continue(())
    }
}

/// The names that a statement gives by `with`.
struct Names(BTreeSet<String>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(with) = &query.with {
            self.0.extend(with.cte_tables.iter().map(|table| table.alias.name.value.clone()));
        }
        ControlFlow::Continue(())
    }
}

/// Leaves `strict` out where it stands beside another table option: the parser knows each of them alone.
fn without_strict_pairs(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_strict = |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.value == "strict");
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))) {
        let comma_before = kept.last().is_some_and(|last| last.token == Token::Comma);
        let strict_before = kept.last().is_some_and(is_strict);
        if (is_strict(&token) && comma_before) || (token.token == Token::Comma && strict_before) {
            kept.pop();
        } else {
            kept.push(token);
        }
    }
    kept
}

fn parts(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(identifier) => identifier.value.clone(),
            ObjectNamePart::Function(function) => function.to_string(),
        })
        .collect()
}

fn line_of(name: &ObjectName) -> u64 {
    name.span().start.line
}
