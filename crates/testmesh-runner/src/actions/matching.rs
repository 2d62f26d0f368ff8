//! Which of the messages that come count: conditions of the flow, looked at with each message in front of the scope.

use std::sync::Arc;

use bytestring::ByteString;

use crate::action::ActionError;
use crate::engine::{ActionContext, at_key, entries};
use crate::flow::Assertion;
use crate::scope::Scope;
use crate::value::Value;

/// Conditions that must all hold for a message; none: every message counts.
pub(super) struct Matching {
    key: String,
    conditions: Vec<Assertion>,
    scope: Arc<Scope>,
}

impl Matching {
    /// The conditions that the step's configuration has at `key`.
    pub(super) fn of(cx: &ActionContext<'_>, key: &str) -> Self {
        let conditions = cx.config().assertions(key).to_vec();
        Self { key: key.to_owned(), conditions, scope: Arc::clone(cx.names()) }
    }

    /// Whether a message counts. Its own keys are known by their names, and `$` is its `value`.
    pub(super) fn takes(&self, message: &Value, value: Value) -> Result<bool, ActionError> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let mut locals: Vec<(ByteString, Value)> = entries(message).unwrap_or_default().into_iter().collect();
        locals.push(("$".into(), value));
        let scope = self.scope.child(locals);
        for condition in &self.conditions {
            // A message of another shape is not the one that is waited for.
            match condition.expression.check(scope.as_ref()) {
                Ok(checked) if checked.holds => {}
                Ok(_) => return Ok(false),
                Err(error) => return Err(at_key(&self.key, &error)),
            }
        }
        Ok(true)
    }
}
