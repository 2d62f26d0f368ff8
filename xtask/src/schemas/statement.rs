//! One SQL text, parsed: which tables it names, and the habits that every statement keeps.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use sqlparser::ast::{
    AlterTableOperation, ColumnDef, ColumnOption, Expr, ForeignKeyConstraint, LimitClause, ObjectName, ObjectNamePart,
    ObjectType, Query, Select, SelectItem, Spanned, Statement, TableConstraint, Visit, Visitor,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::engine::Engine;
use crate::finding::{Finding, Rule};

/// PostgreSQL's own tables: a crate without a schema may read them.
const CATALOGUE: &str = "pg_catalog";

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

const ADDS: Rule = Rule {
    name: "migration-adds",
    reason: "servers of the release before run, and start, on a schema of the same thousand",
    remedy: "add beside what is there; or number it as the first of the next thousand, and say in the release's notes that there is no way back",
};

const KIND: Rule = Rule {
    name: "statement-kind",
    reason: "logic in the database (views, triggers) cannot be seen in the code that runs it, and pragmas are the connection's",
    remedy: "do it in the domain's code; migrations create, alter and drop tables and indexes, and change rows",
};

/// Checks a statement of a crate: one that reads or changes rows, in the tables of `schema` alone. No schema (`""`): it
/// may name no table but those of PostgreSQL's catalogue.
pub(super) fn check_statement(root: &Path, path: &Path, text: &str, schema: &str) -> Vec<Finding> {
    let (engines, _) = Engine::of_file(path.file_name().and_then(|name| name.to_str()).unwrap_or_default());
    let mut findings: Vec<Finding> = Vec::new();
    for engine in engines {
        for finding in check_statement_for(engine, root, path, text, schema) {
            // What one engine's parser finds, the other's mostly finds as well.
            if !findings.iter().any(|known| (known.line, known.rule) == (finding.line, finding.rule)) {
                findings.push(finding);
            }
        }
    }
    findings
}

fn check_statement_for(engine: Engine, root: &Path, path: &Path, text: &str, schema: &str) -> Vec<Finding> {
    let mut check = Check { engine, root, path, schema, findings: Vec::new(), names: BTreeSet::new() };
    let statements = check.parse(text);
    if let Some((line, _)) = statements.get(1) {
        check.report(*line, &SYNTAX, "a second statement");
    }
    for (line, statement) in &statements {
        match statement {
            Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                check.visit(statement);
            }
            _ => check.report(*line, &KIND, "not a select, insert, update or delete"),
        }
    }
    check.findings
}

/// Checks a migration of a schema, on which releases that do not know it must go on working when `only_adds`.
pub(super) fn check_migration(
    (engine, only_adds): (Engine, bool),
    root: &Path,
    path: &Path,
    text: &str,
    schema: &str,
) -> Vec<Finding> {
    let mut check = Check { engine, root, path, schema, findings: Vec::new(), names: BTreeSet::new() };
    for (line, statement) in check.parse(text) {
        check.migration_statement(line, &statement);
        if only_adds && let Some(what) = taken_away(&statement) {
            check.report(line, &ADDS, what);
        }
    }
    check.findings
}

/// What a release that was written before the statement would miss, or be refused.
fn taken_away(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Drop { object_type: ObjectType::Table, .. } => Some("drops a table".to_owned()),
        Statement::AlterTable(alter) => alter.operations.iter().find_map(|operation| match operation {
            AlterTableOperation::AddColumn { column_def, .. } => {
                let has = |wanted: fn(&ColumnOption) -> bool| column_def.options.iter().any(|one| wanted(&one.option));
                let needed = has(|option| matches!(option, ColumnOption::NotNull));
                let given = has(|option| matches!(option, ColumnOption::Default(_)));
                (needed && !given).then(|| format!("column `{}` must be given", column_def.name))
            }
            other => Some(format!("`{}`", other.to_string().to_lowercase())),
        }),
        _ => None,
    }
}

struct Check<'a> {
    engine: Engine,
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

    fn parse(&mut self, text: &str) -> Vec<(u64, Statement)> {
        let dialect = self.engine.dialect();
        let tokens = match Tokenizer::new(&*dialect, text).tokenize_with_location() {
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
        let tokens = without_strict_pairs(tokens);
        match statements(Parser::new(&*dialect).with_tokens_with_locations(tokens)) {
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

    fn migration_statement(&mut self, line: u64, statement: &Statement) {
        match statement {
            Statement::CreateTable(table) => {
                table.columns.iter().for_each(|column| self.column_keys(column));
                table.constraints.iter().for_each(|constraint| self.constraint_key(constraint));
                self.visit(statement);
            }
            Statement::CreateIndex(index) => match (&index.name, self.engine) {
                // SQLite wants the schema before the index, and then none before its table; PostgreSQL the reverse.
                (Some(name), Engine::Sqlite) => self.owned(name, "index"),
                (Some(_), Engine::Postgres) => self.owned(&index.table_name, "an index's table"),
                (None, _) => self.report(line, &SYNTAX, "an index without a name"),
            },
            Statement::Drop { object_type: ObjectType::Table | ObjectType::Index, names, .. } => {
                for name in names {
                    self.owned(name, "object");
                }
            }
            Statement::AlterTable(alter) => {
                for operation in &alter.operations {
                    match operation {
                        AlterTableOperation::AddColumn { column_def, .. } => self.column_keys(column_def),
                        AlterTableOperation::AddConstraint { constraint, .. } => self.constraint_key(constraint),
                        _ => {}
                    }
                }
                self.visit(statement);
            }
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => self.visit(statement),
            other => {
                let text = other.to_string().to_lowercase();
                let words: Vec<_> = text.split_whitespace().take(2).collect();
                self.report(line, &KIND, format!("`{}`", words.join(" ")));
            }
        }
    }

    fn column_keys(&mut self, column: &ColumnDef) {
        for option in &column.options {
            if let ColumnOption::ForeignKey(key) = &option.option {
                self.foreign_key(key);
            }
        }
    }

    fn constraint_key(&mut self, constraint: &TableConstraint) {
        if let TableConstraint::ForeignKey(key) = constraint {
            self.foreign_key(key);
        }
    }

    fn foreign_key(&mut self, key: &ForeignKeyConstraint) {
        let parts = parts(&key.foreign_table);
        let stays = match self.engine {
            // Without a schema it is a table of the same one.
            Engine::Sqlite => parts.len() == 1 || parts[0] == self.schema,
            Engine::Postgres => parts.len() == 2 && parts[0] == self.schema,
        };
        if !stays {
            let message = format!("a foreign key to `{}` leaves schema `{}`", parts.join("."), self.schema);
            self.report(line_of(&key.foreign_table), &SCHEMA, message);
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
        let known = match parts.as_slice() {
            [name] => self.names.contains(name) || self.engine.table_functions().contains(&name.as_str()),
            [schema, _] => self.schema.is_empty() && schema == CATALOGUE,
            _ => false,
        };
        if !known {
            self.owned(relation, "table");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression
            && let [schema, .., _] = parts(&function.name).as_slice()
            && schema != CATALOGUE
        {
            self.report(line_of(&function.name), &SCHEMA, format!("function `{}` is somebody's own", function.name));
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

/// The statements with the line that each begins at.
fn statements(mut parser: Parser<'_>) -> Result<Vec<(u64, Statement)>, ParserError> {
    let mut found = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        let first = parser.peek_token();
        if first.token == Token::EOF {
            return Ok(found);
        }
        found.push((first.span.start.line, parser.parse_statement()?));
        let next = parser.peek_token();
        if !matches!(next.token, Token::SemiColon | Token::EOF) {
            return parser.expected("end of statement", next);
        }
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
