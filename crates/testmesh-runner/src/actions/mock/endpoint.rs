//! An endpoint: which requests it is for, and what it answers.

use std::sync::Arc;

use super::arrival::Incoming;
use super::matching::{Matcher, Miss, Wanted};
use super::respond::Prepared;
use super::state::{StateRule, Update};
use crate::action::ActionError;
use crate::engine::{Resolved, at_key, entries, mismatch};
use crate::record::ErrorKind;
use crate::scope::Scope;
use crate::template::Tree;
use crate::value::{Map, Value};

/// The most endpoints of a mock server.
pub(super) const MOST_ENDPOINTS: usize = 500;

/// An endpoint.
#[derive(Debug, Clone)]
pub(in crate::actions) struct Endpoint {
    pub(super) id: String,
    pub(super) wanted: Wanted,
    pub(super) priority: i64,
    matching: Held<Matcher>,
    responses: Vec<Held<Prepared>>,
    pub(super) state: Option<StateRule>,
    times: Option<u64>,
    /// How many requests it has answered.
    pub(super) n_answered: u64,
}

/// What has no reference in it is made once.
#[derive(Debug, Clone)]
enum Held<T> {
    Made(Arc<T>),
    Each(Tree),
}

impl<T> Held<T> {
    fn new(tree: Tree, key: &str, read: fn(&Resolved) -> Result<T, ActionError>) -> Result<Self, ActionError> {
        match tree {
            Tree::Const(value) => Ok(Self::Made(Arc::new(read(&fields(key, &value)?)?))),
            tree => Ok(Self::Each(tree)),
        }
    }

    fn get(
        &self,
        key: &str,
        names: &Scope,
        read: fn(&Resolved) -> Result<T, ActionError>,
    ) -> Result<Arc<T>, ActionError> {
        match self {
            Self::Made(made) => Ok(Arc::clone(made)),
            Self::Each(tree) => {
                let value = tree.render(names).map_err(|error| at_key(key, &error))?;
                Ok(Arc::new(read(&fields(key, &value)?)?))
            }
        }
    }
}

fn fields(key: &str, value: &Value) -> Result<Resolved, ActionError> {
    match value {
        Value::Null => Ok(Resolved::default()),
        value => match entries(value) {
            Some(entries) => Ok(Resolved::new(entries.into_iter().collect())),
            None => Err(mismatch(key, "a map", value)),
        },
    }
}

/// Reads the endpoints of a step. `names` is what they see when the step runs.
pub(super) fn read(tree: Option<&Tree>, names: &Scope) -> Result<Vec<Endpoint>, ActionError> {
    let Some(tree) = tree else { return Ok(Vec::new()) };
    let Some(items) = tree.items() else {
        let message = "`endpoints` takes a list that is written in the flow";
        return Err(ActionError::new(ErrorKind::Config, message));
    };
    if items.len() > MOST_ENDPOINTS {
        let message = format!("a mock server has {MOST_ENDPOINTS} endpoints at most, not {}", items.len());
        return Err(ActionError::new(ErrorKind::Config, message));
    }
    let read = |(index, item): (usize, &Tree)| {
        Endpoint::read(item, names)
            .map_err(|error| ActionError { message: format!("`endpoints[{index}]`: {}", error.message), ..error })
    };
    items.iter().enumerate().map(read).collect()
}

impl Endpoint {
    fn read(tree: &Tree, names: &Scope) -> Result<Self, ActionError> {
        let eager = ["id", "method", "path", "priority", "times"].into_iter().filter_map(|key| {
            let value = tree.part(key)?.render(names).map_err(|error| at_key(key, &error));
            Some(value.map(|value| (key.into(), value)))
        });
        let config = Resolved::new(eager.collect::<Result<_, ActionError>>()?);
        let wanted = Wanted::read(&config)?;
        let responses = match tree.part("response") {
            None => Vec::new(),
            Some(one) => one.items().unwrap_or_else(|| vec![one]),
        };
        let responses = if responses.is_empty() { vec![Tree::Const(Value::Null)] } else { responses };
        let responses = responses.into_iter().map(|tree| Held::new(tree, "response", Prepared::read));
        Ok(Self {
            id: config.text("id")?.map_or_else(|| wanted.shown(), |id| id.to_string()),
            priority: config.integer("priority")?.unwrap_or(0),
            matching: Held::new(tree.part("match").unwrap_or(Tree::Const(Value::Null)), "match", Matcher::read)?,
            responses: responses.collect::<Result<_, _>>()?,
            state: tree.part("state").map(|state| read_state(&state, names)).transpose()?.flatten(),
            times: config.integer("times")?.and_then(|times| u64::try_from(times).ok()),
            n_answered: 0,
            wanted,
        })
    }

    /// Whether it answers no more requests.
    pub(super) fn is_used_up(&self) -> bool {
        self.times.is_some_and(|times| self.n_answered >= times)
    }

    /// What a request lacks beside method and path.
    pub(super) fn misses(&self, incoming: &Incoming, state: &Map, names: &Scope) -> Result<Vec<Miss>, ActionError> {
        Ok(self.matching.get("match", names, Matcher::read)?.misses(incoming, state))
    }

    /// The answer to the next request.
    pub(super) fn respond(&self, names: &Scope) -> Result<Prepared, ActionError> {
        let turn = usize::try_from(self.n_answered).unwrap_or(usize::MAX).min(self.responses.len() - 1);
        self.responses[turn].get("response", names, Prepared::read).map(Arc::unwrap_or_clone)
    }
}

fn read_state(tree: &Tree, names: &Scope) -> Result<Option<StateRule>, ActionError> {
    if matches!(tree, Tree::Const(Value::Null)) {
        return Ok(None);
    }
    let eager = ["key", "initial", "update"].into_iter().filter_map(|key| {
        let value = tree.part(key)?.render(names).map_err(|error| at_key(key, &error));
        Some(value.map(|value| (key.into(), value)))
    });
    let config = Resolved::new(eager.collect::<Result<_, ActionError>>()?);
    Ok(Some(StateRule {
        key: config.required_text("key")?.to_string(),
        initial: config.value("initial").cloned().unwrap_or_default(),
        update: Update::parse(config.text("update")?.as_deref())?,
        value: tree.part("value"),
    }))
}
