//! JSON that is built when somebody first looks at it: most requests and responses are recorded and never looked at.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use crate::engine::recorded;
use crate::value::Value;

/// JSON that is built when somebody first looks at it. Clones share it.
#[derive(Clone)]
pub struct LazyJson(Arc<Inner>);

struct Inner {
    value: OnceLock<Value>,
    /// What makes the value, when it was not there from the beginning.
    make: Option<Make>,
    /// The value as a tree of `serde_json`, for those who want that.
    json: OnceLock<Json>,
}

/// Makes a value.
type Make = Arc<dyn Fn() -> Value + Send + Sync>;

impl LazyJson {
    /// A value of JSON's own kinds.
    pub(crate) fn of(value: Value) -> Self {
        Self(Arc::new(Inner { value: value.into(), make: None, json: OnceLock::new() }))
    }

    /// What `make` makes when somebody first looks at it, as [`recorded`] keeps it.
    pub(crate) fn later(make: Make) -> Self {
        Self(Arc::new(Inner { value: OnceLock::new(), make: Some(make), json: OnceLock::new() }))
    }

    /// The JSON as a flow's value.
    pub(crate) fn value(&self) -> &Value {
        self.0.value.get_or_init(|| self.0.make.as_ref().map_or(Value::Null, |make| recorded(make())))
    }
}

impl From<Json> for LazyJson {
    fn from(json: Json) -> Self {
        Self::of(Value::from_json(json))
    }
}

impl Deref for LazyJson {
    type Target = Json;

    fn deref(&self) -> &Json {
        self.0.json.get_or_init(|| self.value().to_json())
    }
}

impl PartialEq for LazyJson {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.value() == other.value()
    }
}

impl fmt::Debug for LazyJson {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(out)
    }
}

impl Serialize for LazyJson {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(out)
    }
}

impl<'de> Deserialize<'de> for LazyJson {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Value::deserialize(source).map(Self::of)
    }
}
