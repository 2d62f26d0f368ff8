//! Messages that come: the value that they say by the schema whose number they begin with.

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::{MAGIC, Part, Registry, Taken, shown};
use crate::action::ActionError;
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;
use crate::value::Value;

/// What the parts of messages are taken for.
pub(in crate::actions) struct Decoder {
    registry: Registry,
    topic: ByteString,
    key: Taken,
    value: Taken,
}

/// Why a part of a message has no value.
pub(in crate::actions) enum Undecoded {
    /// The message is not what it should be.
    Foreign(String),
    /// The registry does not say what it is.
    Unknown(ActionError),
}

impl Decoder {
    /// Reads it from the configuration; none when messages are taken as they are.
    pub(in crate::actions) async fn read(
        cx: &ActionContext<'_>,
        config: &Resolved,
        topic: &ByteString,
    ) -> Result<Option<Self>, ActionError> {
        let (mut key, value) = (Taken::read(config, Part::Key)?, Taken::read(config, Part::Value)?);
        let Some(registry) = Registry::read(cx, config).await? else {
            let named = [("key_format", key), ("value_format", value)];
            return match named.into_iter().find(|(_, taken)| matches!(taken, Taken::By(_))) {
                None => Ok(None),
                Some((name, _)) => {
                    let text = format!("`{name}` needs `schema_registry`, which says where the schemas are");
                    Err(ActionError::new(ErrorKind::Config, text))
                }
            };
        };
        // A key is often a plain text beside a value with a schema; a value is what the registry is for.
        if matches!(key, Taken::Unsaid) {
            key = Taken::Plain;
        }
        Ok(Some(Self { registry, topic: topic.clone(), key, value }))
    }

    /// The registry, as it may be shown.
    pub(in crate::actions) fn server(&self) -> String {
        self.registry.client.shown()
    }

    /// The value of a part, and its schema for the result; none when the part is taken as it is.
    pub(in crate::actions) async fn decode(
        &self,
        part: Part,
        bytes: Option<&Bytes>,
    ) -> Result<Option<(Value, Value)>, Undecoded> {
        let taken = match part {
            Part::Key => self.key,
            Part::Value => self.value,
        };
        let expected = match taken {
            Taken::Plain => return Ok(None),
            Taken::Unsaid => None,
            Taken::By(format) => Some(format),
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let name = part.name();
        let mut rest = bytes.clone();
        let (Ok(magic), Ok(id)) = (rest.try_get_u8(), rest.try_get_u32()) else {
            let text = format!("its {name} is not in the registry's format: it has {} bytes", bytes.len());
            return Err(Undecoded::Foreign(text));
        };
        if magic != MAGIC {
            let text = format!("its {name} is not in the registry's format: it begins with the byte {magic}, not 0");
            return Err(Undecoded::Foreign(text));
        }
        let schema = self.registry.by_id(id).await.map_err(|trouble| {
            let what = format!("schema {id}");
            let absent = trouble.is_absence();
            let error = self.registry.client.error(&what, trouble);
            // What is not there says more of the message than of the registry.
            if absent {
                Undecoded::Foreign(format!("its {name}: {}", error.message))
            } else {
                Undecoded::Unknown(error)
            }
        })?;
        let subject = format!("{}-{name}", self.topic);
        let own = schema.uses.iter().find(|found| found.subject == subject);
        let used = own.or_else(|| schema.uses.first());
        let of_subject = used.map(|used| format!(" of `{}`", used.subject)).unwrap_or_default();
        if let Some(expected) = expected.filter(|expected| *expected != schema.format) {
            let (is, wanted) = (schema.format.word(), expected.word());
            let text = format!("its {name} has the schema {id}{of_subject}, which is `{is}`, not `{wanted}`");
            return Err(Undecoded::Foreign(text));
        }
        let value = schema.codec.read(rest, name);
        let value = value.map_err(|problem| Undecoded::Foreign(format!("by schema {id}{of_subject}, {problem}")))?;
        Ok(Some((value, shown(id, schema.format, used.map(|used| (used.subject.as_str(), used.version))))))
    }
}
