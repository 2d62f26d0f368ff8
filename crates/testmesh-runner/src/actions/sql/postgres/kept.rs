//! Statements that a connection has run before: from the second time on the server keeps them, parsed and planned, and is
//! sent their parameters alone.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use postgres_types::Oid;

use super::super::{Refusal, SqlError, Statement};
use super::Shape;

/// Texts that are remembered, and so at most as many statements at the server.
const MOST: usize = 100;

/// What the server says of a statement.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) parameters: Vec<Oid>,
    /// None: it gives no rows.
    pub(super) shape: Option<Arc<Shape>>,
}

/// A statement that the server keeps under a name.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) described: Described,
}

/// What one connection has run.
#[derive(Debug)]
pub(super) struct History {
    /// By text; none: it ran once, and nothing is kept of it.
    known: HashMap<String, Option<Arc<Kept>>>,
    /// Names at the server that are to be given up.
    outdated: Vec<String>,
    /// Begins the names. Through a pooler, connections of others have names of their own at the same server.
    prefix: u64,
    names: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { known: HashMap::new(), outdated: Vec::new(), prefix: rand::random(), names: 0 }
    }
}

impl History {
    /// The statement as the server has it.
    pub(super) fn kept(&self, statement: &Statement<'_>) -> Option<Arc<Kept>> {
        let kept = self.known.get(statement.query)?.as_ref()?;
        // What is wrong with another number of parameters is said in our own words.
        (kept.described.parameters.len() == statement.params.len()).then(|| Arc::clone(kept))
    }

    /// The name to run a statement under that is not kept; empty when it is to be kept by nobody.
    pub(super) fn name(&mut self, statement: &Statement<'_>) -> String {
        if self.known.contains_key(statement.query) {
            self.names += 1;
            return format!("testmesh_{:x}_{}", self.prefix, self.names);
        }
        if may_be_kept(statement.query) {
            if self.known.len() >= MOST {
                self.known.retain(|_, kept| kept.is_some());
            }
            if self.known.len() < MOST {
                self.known.insert(statement.query.to_owned(), None);
            }
        }
        String::new()
    }

    /// Remembers that the server has a statement.
    pub(super) fn keep(&mut self, statement: &Statement<'_>, name: String, described: Described) {
        if let Some(known) = self.known.get_mut(statement.query) {
            *known = Some(Arc::new(Kept { name, described }));
        }
    }

    /// Forgets a statement that may not be what the server has, or may not be there.
    pub(super) fn give_up(&mut self, statement: &Statement<'_>, name: String) {
        if !name.is_empty() {
            self.outdated.push(name);
        }
        self.known.remove(statement.query);
    }

    /// Tells the server what it need not keep.
    pub(super) fn close_outdated(&mut self, out: &mut BytesMut) -> Result<(), SqlError> {
        for name in self.outdated.drain(..) {
            frontend::close(b'S', &name, out).map_err(SqlError::broken)?;
        }
        Ok(())
    }
}

/// Whether nothing of a statement stays when it is refused, so that it can be tried again: a `call` may commit by itself.
fn may_be_kept(query: &str) -> bool {
    const PLAIN: [&str; 6] = ["select", "insert", "update", "delete", "with", "values"];
    let word = query.trim_start().split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    PLAIN.iter().any(|plain| word.eq_ignore_ascii_case(plain))
}

/// Whether a kept statement may have been refused because the tables, types or names are not those it was parsed for:
/// the classes of what is not supported (a result of another type), no such statement, syntax and names, and data.
pub(super) fn may_be_outdated(refusal: &Refusal) -> bool {
    ["0A", "26", "42", "22"].iter().any(|class| refusal.code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(query: &str) -> Statement<'_> {
        Statement { query, params: &[], max_rows: 1, transaction: false }
    }

    #[test]
    fn a_statement_is_kept_from_its_second_run_on() {
        let mut history = History::default();
        let insert = statement(" Insert into t values ($1)");
        assert_eq!(history.name(&insert), "");
        let name = history.name(&insert);
        assert!(name.starts_with("testmesh_") && history.kept(&insert).is_none(), "{name}");
        history.keep(&insert, name.clone(), Described::default());
        assert_eq!(history.kept(&insert).unwrap().name, name);
        history.give_up(&insert, name.clone());
        assert!(history.kept(&insert).is_none());
        let mut out = BytesMut::new();
        history.close_outdated(&mut out).unwrap();
        assert!(String::from_utf8_lossy(&out).contains(&name), "{out:?}");
        assert_eq!(history.name(&insert), "", "it begins anew");
    }

    #[test]
    fn what_could_leave_something_when_it_is_refused_is_not_kept() {
        let mut history = History::default();
        for query in ["call f($1)", "do $$begin end$$", "-- select\ncall f($1)", "selected", ""] {
            for _ in 0..3 {
                assert_eq!(history.name(&statement(query)), "", "{query}");
            }
        }
    }

    #[test]
    fn texts_that_come_once_make_room_for_others() {
        let mut history = History::default();
        let texts: Vec<String> = (0..3 * MOST).map(|number| format!("select {number} + $1")).collect();
        for (number, text) in texts.iter().enumerate() {
            let statement = statement(text);
            assert_eq!(history.name(&statement), "");
            if number % 2 == 0 {
                let name = history.name(&statement);
                history.keep(&statement, name, Described::default());
            }
            assert!(history.known.len() <= MOST, "{}", history.known.len());
        }
        assert_eq!(history.known.values().flatten().count(), MOST, "and what is kept stays");
    }
}
