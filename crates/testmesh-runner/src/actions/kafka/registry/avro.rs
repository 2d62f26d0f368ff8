//! Avro: schemas, and values both ways. A value that does not fit is told with its place and what is taken there.
//!
//! The codec reads into the flow's own values and writes out of them, so that decimals stay exact and every error has a
//! path. A message is read by the schema it was written with; nothing is converted to another schema.

mod decimal;
mod default;
mod read;
mod schema;
mod time;
mod union;
mod write;

pub(super) use self::read::varint;
pub(super) use self::schema::Schema;
pub(super) use self::write::push_varint;

/// Values inside values that are read or written.
const DEEPEST: usize = 100;

/// Why a value could not be read or written, and where in it.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    /// `.items[1].price`.
    path: String,
    /// What is taken there, or what is wrong.
    what: String,
}

impl Fault {
    fn new(what: impl Into<String>) -> Self {
        Self { path: String::new(), what: what.into() }
    }

    /// The fault as seen from the value around it.
    fn within(mut self, part: &str) -> Self {
        self.path.insert_str(0, part);
        self
    }

    fn in_field(self, name: &str) -> Self {
        self.within(&format!(".{name}"))
    }

    fn in_item(self, at: usize) -> Self {
        self.within(&format!("[{at}]"))
    }

    /// For people; `root` is what the whole value is called.
    fn told(&self, root: &str) -> String {
        match format!("{root}{}", self.path).as_str() {
            "" => self.what.clone(),
            place => format!("`{place}` {}", self.what),
        }
    }
}

impl Schema {
    /// The value that `bytes` are; `root` is what it is called in errors.
    pub(super) fn read(&self, bytes: bytes::Bytes, root: &str) -> Result<crate::value::Value, String> {
        read::read(self, bytes).map_err(|fault| fault.told(root))
    }

    /// The bytes of a value; `root` is what it is called in errors.
    pub(super) fn write(&self, value: &crate::value::Value, root: &str) -> Result<Vec<u8>, String> {
        write::write(self, value).map_err(|fault| fault.told(root))
    }
}

#[cfg(test)]
mod tests;
