//! JSON that is built when somebody first looks at it: most requests and responses are recorded and never looked at.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

/// JSON that is built when somebody first looks at it. Clones share it.
#[derive(Clone)]
pub struct LazyJson(Arc<LazyLock<Json, Build>>);

type Build = Box<dyn FnOnce() -> Json + Send>;

impl LazyJson {
    /// JSON that `build` makes, at most once.
    pub(crate) fn new(build: impl FnOnce() -> Json + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(build))))
    }
}

impl From<Json> for LazyJson {
    fn from(json: Json) -> Self {
        Self::new(|| json)
    }
}

impl Deref for LazyJson {
    type Target = Json;

    fn deref(&self) -> &Json {
        &self.0
    }
}

impl PartialEq for LazyJson {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl fmt::Debug for LazyJson {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(out)
    }
}

impl Serialize for LazyJson {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(out)
    }
}

impl<'de> Deserialize<'de> for LazyJson {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Json::deserialize(source).map(Self::from)
    }
}
