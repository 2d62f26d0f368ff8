//! The settings file: TOML with one key for each setting, and where in it each value stands.

use std::io::Read;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::catalogue::Setting;
use super::nearest::nearest;

/// The largest settings file, in bytes; one with every setting has a few thousand.
const MAX_BYTES: u64 = 1 << 20;

/// A value in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// As it would be written behind the flag.
    pub(super) text: String,
    /// `file:line:column`.
    pub(super) place: String,
}

/// What the file says. The error names every mistake in a line of its own.
pub(super) fn read(path: &Path, settings: &[Setting]) -> Result<Vec<Entry>, String> {
    let name = path.display().to_string();
    parse(&name, &text_of(path, MAX_BYTES)?, settings)
}

/// A text file of at most `limit` bytes.
pub(super) fn text_of(path: &Path, limit: u64) -> Result<String, String> {
    let name = path.display();
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot read `{name}`: {error}"))?;
    let length =
        file.take(limit + 1).read_to_string(&mut text).map_err(|error| format!("cannot read `{name}`: {error}"))?;
    if length as u64 > limit {
        return Err(format!("`{name}` has more than {limit} bytes"));
    }
    Ok(text)
}

fn parse(name: &str, text: &str, settings: &[Setting]) -> Result<Vec<Entry>, String> {
    let place = |offset: usize| {
        let (line, column) = position(text, offset);
        format!("{name}:{line}:{column}")
    };
    let table = DeTable::parse(text)
        .map_err(|error| format!("{}: {}", place(error.span().map_or(0, |span| span.start)), error.message()))?;
    let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
    for (key, value) in table.get_ref() {
        let known = |setting: &Setting| {
            setting.key == key.get_ref().as_ref() || setting.file_key().as_deref() == Some(key.get_ref())
        };
        let Some(setting) = settings.iter().find(|setting| known(setting)) else {
            mistakes.push((key.span().start, unknown(key.get_ref(), value.get_ref(), settings)));
            continue;
        };
        match written(value, setting.is_list) {
            Ok(text) => {
                let key = key.get_ref().to_string();
                entries.push(Entry { key, text, place: place(value.span().start) });
            }
            Err((offset, mistake)) => mistakes.push((offset, format!("`{}` {mistake}", key.get_ref()))),
        }
    }
    if mistakes.is_empty() {
        return Ok(entries);
    }
    mistakes.sort();
    let lines: Vec<String> =
        mistakes.into_iter().map(|(offset, mistake)| format!("{}: {mistake}", place(offset))).collect();
    Err(lines.join("\n"))
}

fn unknown(key: &str, value: &DeValue<'_>, settings: &[Setting]) -> String {
    if value.is_table() {
        return format!("`{key}` is no setting: settings are not grouped into tables");
    }
    match nearest(key, settings.iter().map(|setting| setting.key.as_str())) {
        Some(meant) => format!("there is no setting `{key}`; did you mean `{meant}`?"),
        None => format!("there is no setting `{key}`; `testmesh-server config` lists them all"),
    }
}

/// A value as it would be written behind the flag, or where it cannot be and why.
fn written(value: &Spanned<DeValue<'_>>, is_list: bool) -> Result<String, (usize, String)> {
    let wrong = |what: &str| Err((value.span().start, format!("takes {what}")));
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        // The parser keeps numbers as they are written, without `_` between digits.
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.to_string()),
        DeValue::Integer(_) => wrong("a decimal number"),
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Array(items) if is_list => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| written(item, false)).collect();
            Ok(items?.join(","))
        }
        DeValue::Array(_) => wrong("one value, not a list"),
        DeValue::Table(_) => wrong("a value, not a table"),
        DeValue::Datetime(_) => wrong("no date; write a text in quotes"),
    }
}

/// Line and column of a byte, both from 1, the column in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |index| index + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;

    #[test]
    fn values_are_what_stands_behind_a_flag_with_their_places() {
        let text = "# all of it\nlisten = \"127.0.0.1:0\"\nconcurrency = 1_6\n\
                    net_deny = [\n  \"10.0.0.0/8\",\n  '192.168.0.0/16',\n]\ndatabase_url_file = \"/run/secrets/db\"\n";
        let entries = parse("t.toml", text, &catalogue::all()).unwrap();
        let shown: Vec<_> = entries.iter().map(|e| format!("{} {}={}", e.place, e.key, e.text)).collect();
        let expected = [
            "t.toml:3:15 concurrency=16",
            "t.toml:8:21 database_url_file=/run/secrets/db",
            "t.toml:2:10 listen=127.0.0.1:0",
            "t.toml:4:12 net_deny=10.0.0.0/8,192.168.0.0/16",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn mistakes_are_all_named_with_line_and_column() {
        for (text, expected) in [
            ("concurency = 3", "t.toml:1:1: there is no setting `concurency`; did you mean `concurrency`?"),
            ("\n  log-level = 'info'", "t.toml:2:3: there is no setting `log-level`; did you mean `log_level`?"),
            ("whatever = 1", "t.toml:1:1: there is no setting `whatever`; `testmesh-server config` lists them all"),
            ("[server]\nlisten = ''", "t.toml:1:2: `server` is no setting: settings are not grouped into tables"),
            ("listen = ['a', 'b']", "t.toml:1:10: `listen` takes one value, not a list"),
            ("listen.port = 1", "`listen` takes a value, not a table"),
            ("concurrency = 0x10", "t.toml:1:15: `concurrency` takes a decimal number"),
            ("net_deny = [1979-05-27]", "t.toml:1:13: `net_deny` takes no date; write a text in quotes"),
            (
                "listen_file = 'a'",
                "t.toml:1:1: there is no setting `listen_file`; `testmesh-server config` lists them all",
            ),
            ("b = 1\nä = 2", "t.toml:2:1: "),
            ("listen = 'ä' x", "t.toml:1:14: "),
            ("listen = 'a'\nlisten = 'b'", "t.toml:2:1: duplicate key"),
        ] {
            let error = parse("t.toml", text, &catalogue::all()).unwrap_err();
            assert!(error.contains(expected), "{text}\n{error}\n{expected}");
        }
        let error = parse("t.toml", "b = 1\na = 2", &catalogue::all()).unwrap_err();
        assert_eq!(error.lines().count(), 2, "{error}");
        assert!(error.starts_with("t.toml:1:1"), "{error}");
    }
}
