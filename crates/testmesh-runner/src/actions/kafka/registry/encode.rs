//! Messages that go: a value in the bytes of its schema, behind the schema's number.
//!
//! A value is written before a schema is registered for it, so one that does not fit leaves no trace.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::client::Trouble;
use super::codec::{Codec, Format};
use super::{MAGIC, Part, Reference, Registry, Taken, shown};
use crate::action::ActionError;
use crate::actions::http_request::file_error;
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;
use crate::value::Value;

/// Largest schema that is read from a file.
const FILE_LIMIT: u64 = 4 << 20;

/// How the parts of a message are written.
pub(in crate::actions) struct Encoder {
    registry: Registry,
    key: Option<Schema>,
    value: Option<Schema>,
}

/// Which schema a part has.
struct Schema {
    subject: String,
    /// That it must have, where the step says so.
    format: Option<Format>,
    /// None: the latest.
    version: Option<i64>,
    /// Which message of a Protobuf schema.
    message: Option<String>,
    own: Option<Own>,
}

/// A schema that the step itself has.
struct Own {
    text: String,
    references: Vec<Reference>,
    register: bool,
}

/// A part of a message, and its schema for the result.
pub(in crate::actions) struct Encoded {
    pub(in crate::actions) bytes: Bytes,
    pub(in crate::actions) schema: Value,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
    #[serde(default)]
    version: Option<i64>,
}

fn wrong(message: impl Into<String>) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

impl Encoder {
    /// Reads it from the configuration; none when messages go as they are.
    pub(in crate::actions) async fn read(
        cx: &ActionContext<'_>,
        config: &Resolved,
        topic: &str,
    ) -> Result<Option<Self>, ActionError> {
        let Some(registry) = Registry::read(cx, config).await? else {
            let keys = ["value_format", "value_schema", "key_format", "key_schema"];
            let plain = |key: &str| config.text(key).is_ok_and(|word| word.is_some_and(|word| *word == *"plain"));
            return match keys.into_iter().find(|key| config.value(key).is_some_and(|it| !it.is_null()) && !plain(key)) {
                None => Ok(None),
                Some(key) => Err(wrong(format!("`{key}` needs `schema_registry`, which says where the schemas are"))),
            };
        };
        let key = Schema::read(cx, config, topic, Part::Key).await?;
        let value = Schema::read(cx, config, topic, Part::Value).await?;
        Ok(Some(Self { registry, key, value }))
    }

    /// The registry, as it may be shown.
    pub(in crate::actions) fn server(&self) -> String {
        self.registry.client.shown()
    }

    /// The bytes of a part; none when it goes as it is. Null has none: it is a tombstone, or no key.
    pub(in crate::actions) async fn encode(&self, part: Part, value: &Value) -> Result<Option<Encoded>, ActionError> {
        let (schema, root) = match part {
            Part::Key => (&self.key, "key"),
            Part::Value => (&self.value, "payload"),
        };
        let Some(schema) = schema.as_ref().filter(|_| !value.is_null()) else { return Ok(None) };
        let (id, body, shown) = match &schema.own {
            Some(own) => self.by_own(schema, own, value, root).await?,
            None => self.by_subject(schema, value, root).await?,
        };
        let mut bytes = Vec::with_capacity(body.len() + 5);
        bytes.push(MAGIC);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&body);
        Ok(Some(Encoded { bytes: bytes.into(), schema: shown }))
    }

    async fn by_subject(
        &self,
        schema: &Schema,
        value: &Value,
        root: &str,
    ) -> Result<(u32, Vec<u8>, Value), ActionError> {
        let subject = &schema.subject;
        let found = self.registry.by_version(subject, schema.version).await?;
        if let Some(format) = schema.format.filter(|format| *format != found.format) {
            let (is, takes) = (found.format.word(), format.word());
            return Err(wrong(format!(
                "the schema of `{subject}`, version {}, is `{is}`, not `{takes}`",
                found.version
            )));
        }
        let written = found.codec.write(value, root, schema.message.as_deref());
        let body = written.map_err(|problem| unfit(&problem, subject, Some(found.version)))?;
        Ok((found.id, body, shown(found.id, found.format, Some((subject, found.version)))))
    }

    async fn by_own(
        &self,
        schema: &Schema,
        own: &Own,
        value: &Value,
        root: &str,
    ) -> Result<(u32, Vec<u8>, Value), ActionError> {
        let (client, subject) = (&self.registry.client, &schema.subject);
        let format = schema.format.unwrap_or(Format::Avro);
        let referenced = self.registry.references(own.references.clone()).await;
        let referenced = referenced.map_err(|trouble| client.error(&format!("the schema of `{subject}`"), trouble))?;
        let named: Vec<_> = referenced.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let codec = Codec::parse(format, &own.text, &named).map_err(wrong)?;
        let written = codec.write(value, root, schema.message.as_deref());
        let body = written.map_err(|problem| unfit(&problem, subject, None))?;
        let told: Vec<_> = own
            .references
            .iter()
            .map(|used| json!({ "name": used.name, "subject": used.subject, "version": used.version }))
            .collect();
        // A bare word, as the flow may have it, is no JSON, which a schema of Avro is.
        let is_bare = format == Format::Avro && serde_json::from_str::<IgnoredAny>(&own.text).is_err();
        let text = if is_bare { json!(own.text.trim()).to_string() } else { own.text.clone() };
        let asked = json!({ "schema": text, "schemaType": format.schema_type(), "references": told });
        let known: Result<Registered, Trouble> = client.post(&["subjects", subject], &asked).await;
        let registered = match known {
            Ok(known) => known,
            Err(trouble) if trouble.is_absence() && own.register => {
                let registering = client.post(&["subjects", subject, "versions"], &asked).await;
                registering.map_err(|trouble| client.error(&format!("a new version of `{subject}`"), trouble))?
            }
            Err(trouble) => {
                let hint = if trouble.is_absence() { " (`auto_register: true` registers it)" } else { "" };
                let mut error = client.error(&format!("the step's schema under `{subject}`"), trouble);
                error.message.push_str(hint);
                return Err(error);
            }
        };
        let version = match registered.version {
            Some(version) => Some(version),
            // Registering tells the number alone; asked again, the registry knows the version.
            None => client.post(&["subjects", subject], &asked).await.ok().and_then(|again: Registered| again.version),
        };
        let used = version.map(|version| (subject.as_str(), version));
        Ok((registered.id, body, shown(registered.id, format, used)))
    }
}

/// A value does not fit its schema.
fn unfit(problem: &str, subject: &str, version: Option<i64>) -> ActionError {
    let whose =
        version.map_or_else(|| "of the step".to_owned(), |version| format!("of `{subject}`, version {version}"));
    wrong(format!("{problem} (schema {whose})"))
}

impl Schema {
    /// Which schema the step gives a part; none when it goes as it is.
    async fn read(
        cx: &ActionContext<'_>,
        config: &Resolved,
        topic: &str,
        part: Part,
    ) -> Result<Option<Self>, ActionError> {
        let key = match part {
            Part::Key => "key_schema",
            Part::Value => "value_schema",
        };
        let section = config.section(key)?;
        let format = match (Taken::read(config, part)?, part, &section) {
            (Taken::Plain, _, Some(_)) => return Err(wrong(format!("`{key}` is given, and the format is `plain`"))),
            // A key is often a plain text beside a value with a schema.
            (Taken::Plain, _, None) | (Taken::Unsaid, Part::Key, None) => return Ok(None),
            (Taken::Unsaid, ..) => None,
            (Taken::By(format), ..) => Some(format),
        };
        let section = section.unwrap_or_default();
        let own = Own::read(cx, &section, key).await?;
        let version = match section.text("version")?.as_deref() {
            None | Some("latest") => None,
            Some(_) if own.is_some() => {
                return Err(wrong(format!("`{key}` has a `version` and a schema of its own: one of them is used")));
            }
            Some(version) => match version.parse() {
                Ok(version) if version > 0 => Some(version),
                _ => return Err(wrong(format!("`{key}.version` takes a number or `latest`, got `{version}`"))),
            },
        };
        let subject = section.text("subject")?.map(String::from);
        Ok(Some(Self {
            subject: subject.unwrap_or_else(|| format!("{topic}-{}", part.name())),
            format,
            version,
            message: section.text("message")?.map(String::from),
            own,
        }))
    }
}

impl Own {
    async fn read(cx: &ActionContext<'_>, section: &Resolved, key: &str) -> Result<Option<Self>, ActionError> {
        let inline = section.value("schema").filter(|schema| !schema.is_null());
        let register = section.boolean("auto_register")?.unwrap_or(false);
        let text = match (inline, section.text("schema_file")?) {
            (Some(_), Some(_)) => {
                return Err(wrong(format!("`{key}` has a `schema` and a `schema_file`: one of them is used")));
            }
            (Some(Value::Text(text)), None) => text.to_string(),
            (Some(schema), None) => schema.to_text().map(String::from).unwrap_or_default(),
            (None, Some(path)) => {
                let bytes = cx.files().read(&path, FILE_LIMIT).await.map_err(|error| file_error(&error))?;
                String::from_utf8(bytes.to_vec()).map_err(|_| wrong(format!("`{path}` is not UTF-8")))?
            }
            (None, None) if register => {
                return Err(wrong(format!("`{key}.auto_register` needs a `schema` or a `schema_file`")));
            }
            (None, None) => return Ok(None),
        };
        let mut references = Vec::new();
        for (at, item) in section.list("references")?.iter().enumerate() {
            let part = |name: &str| item.get(name).filter(|part| !part.is_null());
            let text = |name: &str| part(name).and_then(|part| part.to_text()).map(String::from);
            let version = part("version").and_then(|version| version.as_i64());
            let (Some(name), Some(subject), Some(version)) = (text("name"), text("subject"), version) else {
                return Err(wrong(format!("`{key}.references[{at}]` needs `name`, `subject` and `version`, a number")));
            };
            references.push(Reference { name, subject, version });
        }
        Ok(Some(Self { text, references, register }))
    }
}
