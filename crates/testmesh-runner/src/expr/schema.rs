//! JSON Schema (2020-12 unless the schema says otherwise). A schema refers to nothing outside of its document.

use boon::{Compiler, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value as Json;

use super::EvalError;
use super::eval::error;
use crate::value::Value;

/// Where the schema pretends to be.
pub(crate) const LOCATION: &str = "flow:///schema.json";
/// The most faults that are told.
const MAX_FAULTS: usize = 10;

/// Something that is not as a schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where in the value: `/items/0/id`; `/` for the whole.
    pub(crate) instance: String,
    /// Where in the document the rule stands: `/components/schemas/Item/properties/id/type`.
    pub(crate) schema: String,
    /// What is wrong.
    pub(crate) message: String,
}

/// Refuses every reference to another document: a schema must not open files or sockets.
struct Closed;

impl UrlLoader for Closed {
    fn load(&self, url: &str) -> Result<Json, Box<dyn std::error::Error>> {
        Err(format!("`{url}` lies outside of the schema").into())
    }
}

/// What is wrong with `value` under `schema`, one fragment each; empty when it matches.
pub(crate) fn faults(schema: &Json, value: &Value) -> Result<Vec<String>, EvalError> {
    let faults = Compiled::new(&mut Compiler::new(), schema, "")?.faults(&value.to_json());
    Ok(faults.into_iter().map(|fault| format!("`{}`: {}", fault.instance, fault.message)).collect())
}

/// A schema, ready to be held against values.
pub(crate) struct Compiled {
    schemas: Schemas,
    index: SchemaIndex,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compiled")
    }
}

impl Compiled {
    /// The schema at `pointer` (a JSON pointer) of a document. Formats are checked.
    pub(crate) fn of_document(document: &Json, pointer: &str) -> Result<Self, EvalError> {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        Self::new(&mut compiler, document, pointer)
    }

    /// A schema that may refer to `others`, by where they pretend to be.
    #[cfg(feature = "kafka")]
    pub(crate) fn beside(document: &Json, others: &[(String, Json)]) -> Result<Self, String> {
        let mut compiler = Compiler::new();
        for (location, other) in others {
            let added = compiler.add_resource(location, other.clone());
            added.map_err(|cause| format!("the schema `{location}` is not valid: {cause}"))?;
        }
        Self::new(&mut compiler, document, "").map_err(|error| error.message)
    }

    fn new(compiler: &mut Compiler, document: &Json, pointer: &str) -> Result<Self, EvalError> {
        compiler.use_loader(Box::new(Closed));
        let mut schemas = Schemas::new();
        let invalid = |cause: boon::CompileError| error(format!("the schema is not valid: {cause}"));
        compiler.add_resource(LOCATION, document.clone()).map_err(invalid)?;
        let location =
            if pointer.is_empty() { LOCATION.to_owned() } else { format!("{LOCATION}#{}", encoded(pointer)) };
        let index = compiler.compile(&location, &mut schemas).map_err(invalid)?;
        Ok(Self { schemas, index })
    }

    /// What is wrong with a value, as the schema's parts say it; none when it matches.
    pub(crate) fn fault<'s, 'v>(&'s self, instance: &'v Json) -> Option<ValidationError<'s, 'v>> {
        self.schemas.validate(instance, self.index).err()
    }

    /// What is wrong with a value; empty when it matches.
    pub(crate) fn faults(&self, instance: &Json) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(fault) = self.fault(instance) {
            tell(&fault, &mut faults);
        }
        faults
    }
}

/// A JSON pointer as the fragment of a URL.
fn encoded(pointer: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const FRAGMENT: &AsciiSet =
        &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'%').add(b'{').add(b'}').add(b'#').add(b'^');
    utf8_percent_encode(pointer, FRAGMENT).to_string()
}

/// The innermost faults: those around them only say that something inside is wrong.
fn tell(fault: &ValidationError<'_, '_>, faults: &mut Vec<Fault>) {
    if faults.len() >= MAX_FAULTS {
        return;
    }
    if fault.causes.is_empty() {
        let place = fault.instance_location.to_string();
        let schema = fault.schema_url.rsplit_once('#').map_or("", |(_, pointer)| pointer);
        let keyword = fault.kind.keyword_path().map(|path| format!("/{}", path.keyword)).unwrap_or_default();
        let schema = percent_encoding::percent_decode_str(schema).decode_utf8_lossy();
        faults.push(Fault {
            instance: if place.is_empty() { "/".to_owned() } else { place },
            schema: format!("{schema}{keyword}"),
            message: fault.kind.to_string(),
        });
    }
    for cause in &fault.causes {
        tell(cause, faults);
    }
}
