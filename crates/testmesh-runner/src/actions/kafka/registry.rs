//! Messages whose schema is in a registry: how they begin, what they say, and how a value becomes one.
//!
//! A message begins with a zero byte and the number of its schema, four bytes (Confluent's wire format). What a number or
//! a version means never changes, so it is asked for once in a run; what is the latest is asked for each time.

mod avro;
mod client;
mod codec;
mod decode;
mod encode;
mod json_schema;
mod protobuf;
mod spec;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Deserialize;

use self::client::{Client, Identity, Trouble};
use self::codec::{Codec, Format};
pub(in crate::actions) use self::decode::{Decoder, Undecoded};
pub(in crate::actions) use self::encode::Encoder;
pub(in crate::actions) use self::spec::{
    KEY_FORMAT, KEY_SCHEMA, REGISTRY, VALUE_FORMAT, VALUE_SCHEMA, WRITTEN_KEY_FORMAT, WRITTEN_VALUE_FORMAT,
};
use crate::action::ActionError;
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;
use crate::value::Value;

/// How a message in the registry's format begins.
const MAGIC: u8 = 0;
/// Schemas that one may be made of.
const MOST_REFERENCES: usize = 200;

/// Which part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::actions) enum Part {
    Key,
    Value,
}

impl Part {
    /// How it is called in subjects.
    fn name(self) -> &'static str {
        match self {
            Part::Key => "key",
            Part::Value => "value",
        }
    }
}

/// What one asker found at one registry, by number, and by subject and version.
#[derive(Default)]
struct Found {
    by_id: HashMap<u32, Arc<Numbered>>,
    by_version: HashMap<(String, i64), Arc<Versioned>>,
}

/// What a run found at its registries, by the registry and who asked.
#[derive(Default)]
struct Schemas(Mutex<HashMap<Identity, Arc<Mutex<Found>>>>);

/// A registry that a step asks.
struct Registry {
    client: Client,
    found: Arc<Mutex<Found>>,
}

/// A schema by its number.
struct Numbered {
    format: Format,
    codec: Codec,
    /// The subjects that have it, each with a version.
    uses: Vec<Use>,
}

/// A schema by its subject and version.
struct Versioned {
    id: u32,
    version: i64,
    format: Format,
    codec: Codec,
}

#[derive(Deserialize)]
struct Use {
    subject: String,
    version: i64,
}

/// Another schema that a schema uses.
#[derive(Debug, Clone, Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

/// A schema as registries tell it.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    id: Option<u32>,
    #[serde(default)]
    version: Option<i64>,
    schema: String,
    #[serde(default, rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

impl Registry {
    /// The registry that the step names; none when it names none.
    async fn read(cx: &ActionContext<'_>, config: &Resolved) -> Result<Option<Self>, ActionError> {
        let Some(section) = config.section("schema_registry")? else { return Ok(None) };
        let client = Client::read(cx, &section).await?;
        let found = Arc::clone(cx.resource(Schemas::default).0.lock().entry(client.identity()).or_default());
        Ok(Some(Self { client, found }))
    }

    /// The schema with a number; what is not there is told as trouble, as whoever wrote the number did not ask.
    async fn by_id(&self, id: u32) -> Result<Arc<Numbered>, Trouble> {
        let known = self.found.lock().by_id.get(&id).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let number = id.to_string();
        let told: Told = self.client.get(&["schemas", "ids", &number]).await?;
        let uses = match self.client.get(&["schemas", "ids", &number, "versions"]).await {
            Ok(uses) => uses,
            // Older registries cannot say it.
            Err(Trouble::Refused { .. }) => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        let (format, codec) = self.codec(&told).await?;
        let found = Arc::new(Numbered { format, codec, uses });
        self.found.lock().by_id.insert(id, Arc::clone(&found));
        Ok(found)
    }

    /// The schema of a subject: the latest without a version.
    async fn by_version(&self, subject: &str, version: Option<i64>) -> Result<Arc<Versioned>, ActionError> {
        let key = |version| (subject.to_owned(), version);
        let known = |version| self.found.lock().by_version.get(&key(version)).cloned();
        if let Some(known) = version.and_then(known) {
            return Ok(known);
        }
        let word = version.map_or_else(|| "latest".to_owned(), |version| version.to_string());
        let what = format!("subject `{subject}`, version {word}");
        let error = |trouble| self.client.error(&what, trouble);
        let told: Told = self.client.get(&["subjects", subject, "versions", &word]).await.map_err(error)?;
        let (Some(id), Some(version)) = (told.id, told.version) else {
            return Err(error(Trouble::Failed {
                kind: ErrorKind::Protocol,
                message: "its answer has no `id` and `version`".to_owned(),
            }));
        };
        if let Some(known) = known(version).filter(|known| known.id == id) {
            return Ok(known);
        }
        let (format, codec) = self.codec(&told).await.map_err(error)?;
        let found = Arc::new(Versioned { id, version, format, codec });
        self.found.lock().by_version.insert(key(version), Arc::clone(&found));
        Ok(found)
    }

    async fn codec(&self, told: &Told) -> Result<(Format, Codec), Trouble> {
        let wrong = |message| Trouble::Failed { kind: ErrorKind::Protocol, message };
        let format = Format::of_schema_type(told.schema_type.as_deref()).map_err(wrong)?;
        let references = self.references(told.references.clone().unwrap_or_default()).await?;
        let named: Vec<_> = references.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        Ok((format, Codec::parse(format, &told.schema, &named).map_err(wrong)?))
    }

    /// The schemas that are referred to, and those that they refer to, each after those that it uses itself.
    async fn references(&self, wanted: Vec<Reference>) -> Result<Vec<(String, String)>, Trouble> {
        let mut found: Vec<(String, String)> = Vec::new();
        let mut asked: Vec<(String, i64)> = Vec::new();
        let mut open: Vec<(Reference, Option<String>)> =
            wanted.into_iter().rev().map(|wanted| (wanted, None)).collect();
        while let Some((reference, text)) = open.pop() {
            if let Some(text) = text {
                found.push((reference.name, text));
                continue;
            }
            let key = (reference.subject.clone(), reference.version);
            if asked.contains(&key) {
                continue;
            }
            asked.push(key);
            if asked.len() > MOST_REFERENCES {
                let message = format!("the schema is made of more than {MOST_REFERENCES} others");
                return Err(Trouble::Failed { kind: ErrorKind::Protocol, message });
            }
            let path = ["subjects", &reference.subject, "versions", &reference.version.to_string()];
            let told: Told = self.client.get(&path).await.map_err(|trouble| of_reference(trouble, &reference))?;
            open.push((reference, Some(told.schema)));
            open.extend(told.references.unwrap_or_default().into_iter().rev().map(|wanted| (wanted, None)));
        }
        Ok(found)
    }
}

/// Says which of the schemas it is that is not to be had.
fn of_reference(trouble: Trouble, reference: &Reference) -> Trouble {
    let Reference { name, subject, version } = reference;
    let place = format!("its reference `{name}` (subject `{subject}`, version {version}): ");
    match trouble {
        Trouble::Refused { status, code, message } => Trouble::Refused { status, code, message: place + &message },
        Trouble::Failed { kind, message } => Trouble::Failed { kind, message: place + &message },
    }
}

/// What a result shows of a schema.
fn shown(id: u32, format: Format, used: Option<(&str, i64)>) -> Value {
    Value::map([
        ("id", Value::from(id)),
        ("subject", used.map_or(Value::Null, |(subject, _)| Value::from(subject))),
        ("version", used.map_or(Value::Null, |(_, version)| Value::Int(version))),
        ("format", Value::from(format.word())),
    ])
}

/// What a part of a message is taken for.
#[derive(Debug, Clone, Copy)]
enum Taken {
    /// The step does not say it.
    Unsaid,
    /// As it is.
    Plain,
    /// By a schema in this language.
    By(Format),
}

impl Taken {
    /// What the step says of a part.
    fn read(config: &Resolved, part: Part) -> Result<Self, ActionError> {
        let key = match part {
            Part::Key => "key_format",
            Part::Value => "value_format",
        };
        let Some(word) = config.text(key)? else { return Ok(Self::Unsaid) };
        match word.to_ascii_lowercase().as_str() {
            "plain" => Ok(Self::Plain),
            word => Format::of_word(word).map(Self::By).ok_or_else(|| {
                let text = format!("`{key}` takes `avro`, `protobuf`, `json_schema` or `plain`, got `{word}`");
                ActionError::new(ErrorKind::Config, text)
            }),
        }
    }
}
