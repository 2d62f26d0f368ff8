//! Rows of a data-driven flow: written in it, or read from a CSV or JSON file.

use bytestring::ByteString;
use indexmap::IndexMap;

use super::{Data, Flow};
use crate::files::Files;
use crate::template::Tree;
use crate::value::Value;

/// A row: the values by name, in the order written.
pub type Row = IndexMap<String, Value>;

/// The largest file of rows, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// The most rows of a flow: each one is a run.
const MAX_ROWS: usize = 100_000;

/// Reads rows from CSV: the first line has the names, every value is text as it stands.
///
/// # Errors
/// A fragment for people that says what is wrong and on which line.
pub fn rows_from_csv(text: &str) -> Result<Vec<Row>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    if names.iter().all(str::is_empty) {
        return Err("the first line has no names".to_owned());
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        rows.push(
            names.iter().zip(&record).map(|(name, value)| (name.to_owned(), Value::Text(value.into()))).collect(),
        );
        limit(rows.len())?;
    }
    Ok(rows)
}

/// Reads rows from JSON: a list of objects, or an object whose one list is `rows` or `data`.
///
/// # Errors
/// A fragment for people that says what is wrong.
pub fn rows_from_json(text: &str) -> Result<Vec<Row>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))?;
    let items = match json {
        serde_json::Value::Array(items) => items,
        serde_json::Value::Object(mut object) => {
            match object.shift_remove("rows").or_else(|| object.shift_remove("data")) {
                Some(serde_json::Value::Array(items)) => items,
                _ => return Err("expected a list of objects, or an object with the list in `rows`".to_owned()),
            }
        }
        _ => return Err("expected a list of objects".to_owned()),
    };
    limit(items.len())?;
    let row = |(index, item)| match item {
        serde_json::Value::Object(object) => {
            Ok(object.into_iter().map(|(name, value)| (name, Value::from_json(value))).collect())
        }
        _ => Err(format!("row {} is not an object", index + 1)),
    };
    items.into_iter().enumerate().map(row).collect()
}

fn limit(rows: usize) -> Result<(), String> {
    if rows > MAX_ROWS { Err(format!("more than {MAX_ROWS} rows")) } else { Ok(()) }
}

impl Flow {
    /// The rows to run the flow with, one run each; `None` for a flow without `data`.
    ///
    /// # Errors
    /// A fragment for people: the file may not or cannot be read, or holds no rows.
    pub fn data_rows(&self, files: &Files) -> Result<Option<Vec<Row>>, String> {
        match &self.data {
            None => Ok(None),
            Some(Data::Rows(rows)) => Ok(Some(rows.iter().map(row).collect())),
            Some(Data::File(path)) => {
                let text = read(path, files)?;
                let extension = std::path::Path::new(path).extension().and_then(std::ffi::OsStr::to_str);
                let json = match extension.map(str::to_ascii_lowercase).as_deref() {
                    Some("json") => true,
                    Some("csv") => false,
                    _ => text.trim_start().starts_with(['[', '{']),
                };
                let rows = if json { rows_from_json(&text) } else { rows_from_csv(&text) };
                rows.map(Some).map_err(|problem| format!("cannot read rows from `{path}`: {problem}"))
            }
        }
    }
}

fn row(tree: &Tree) -> Row {
    match tree {
        Tree::Const(Value::Map(map)) => {
            map.entries.iter().map(|(name, value): (&ByteString, _)| (name.to_string(), value.clone())).collect()
        }
        // The parser lets only maps of literals through.
        Tree::Const(_) | Tree::Template(_) | Tree::List(_) | Tree::Map(_) => Row::new(),
    }
}

fn read(path: &str, files: &Files) -> Result<String, String> {
    let resolved = files.resolve(path).map_err(|error| error.to_string())?;
    let unreadable = |error: std::io::Error| format!("cannot read `{path}`: {error}");
    let size = std::fs::metadata(&resolved).map_err(unreadable)?.len();
    if size > MAX_BYTES {
        return Err(format!("cannot read `{path}`: it is larger than {MAX_BYTES} bytes"));
    }
    let bytes = std::fs::read(&resolved).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| format!("cannot read `{path}`: it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_values_stay_text() {
        let rows = rows_from_csv("\u{feff}id, name\n007,\"a, b\"\n8,\n").unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0]["id"].as_str(), Some("007"));
        assert_eq!(rows[0]["name"].as_str(), Some("a, b"));
        assert_eq!(rows[1]["name"].as_str(), Some(""));
    }

    #[test]
    fn json_rows_keep_their_types() {
        for text in [r#"[{"n": 1, "ok": true}]"#, r#"{"rows": [{"n": 1, "ok": true}]}"#] {
            let rows = rows_from_json(text).unwrap();
            assert!(matches!(rows[0]["n"], Value::Int(1)), "{text}");
            assert!(matches!(rows[0]["ok"], Value::Bool(true)), "{text}");
        }
    }

    #[test]
    fn what_holds_no_rows_says_why() {
        for (outcome, reason) in [
            (rows_from_csv(""), "no names"),
            (rows_from_csv("a,b\n1\n"), "line: 2"),
            (rows_from_json("{}"), "list of objects"),
            (rows_from_json("[1]"), "row 1"),
            (rows_from_json("nonsense"), "not valid JSON"),
        ] {
            let error = outcome.expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }
}
