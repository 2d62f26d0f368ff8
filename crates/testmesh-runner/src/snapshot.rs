//! Stored snapshots: `match_snapshot "name"` compares a value with `__snapshots__/<flow>.<name>.json` beside the flow
//! file, or writes it when the run was told to.
//!
//! What differs from run to run by its nature (UUIDs, time stamps) is replaced before anything is compared or written;
//! secrets are masked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value as Json;
use similar::TextDiff;

use crate::expr::EvalError;
use crate::files::Files;
use crate::mask::Masker;
use crate::value::Value;

/// The folder beside the flow file.
const FOLDER: &str = "__snapshots__";
/// Bytes of a snapshot file.
const LIMIT: u64 = 16 << 20;

/// An id as RFC 9562 writes it.
static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?i)\\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\b").expect("a valid expression")
});
/// A time stamp as RFC 3339 writes it.
static STAMP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("\\b\\d{4}-\\d{2}-\\d{2}[Tt ]\\d{2}:\\d{2}:\\d{2}(?:\\.\\d+)?(?:[Zz]|[+-]\\d{2}:\\d{2})")
        .expect("a valid expression")
});

/// The snapshots of one flow.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// The files the run may read.
    pub(crate) files: Files,
    /// The flow's name.
    pub(crate) flow: String,
    /// Writes instead of comparing.
    pub(crate) update: bool,
}

impl Snapshots {
    /// How `value` differs from the snapshot `name`; `None` when it does not, or was just written.
    pub(crate) fn differs(
        &self,
        name: &str,
        value: &Value,
        secrets: &HashMap<String, String>,
    ) -> Result<Option<String>, EvalError> {
        let mut json = value.to_json();
        let masker = Masker::new(secrets.values().cloned());
        masker.json(&mut json);
        steady(&mut json);
        let actual = format!("{json:#}\n");
        let file = format!("{FOLDER}/{}.{}.json", file_part(&self.flow), file_part(name));
        if self.update {
            return self.write(&file, &actual).map(|()| None);
        }
        let stored = self.files.read_blocking(&file, LIMIT).map_err(|reason| EvalError {
            message: format!("there is no snapshot `{name}` to compare with: {reason}"),
            help: Some("run with `--update-snapshots` to write it".to_owned()),
        })?;
        let expected = String::from_utf8_lossy(&stored);
        // Compared as values: whoever formats the file differently has not changed what it says.
        if serde_json::from_str::<Json>(&expected).is_ok_and(|expected| expected == json) {
            return Ok(None);
        }
        let diff = TextDiff::from_lines(&*expected, &*actual);
        Ok(Some(diff.unified_diff().context_radius(2).header("snapshot", "found").to_string()))
    }

    fn write(&self, file: &str, text: &str) -> Result<(), EvalError> {
        let failed = |reason: String| EvalError { message: format!("cannot write `{file}`: {reason}"), help: None };
        if !self.files.enabled {
            return Err(failed("flows may use no files here".to_owned()));
        }
        let path: PathBuf = self.files.base.join(file);
        let folder = path.parent().unwrap_or(&self.files.base);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| failed(error.to_string()))
    }
}

/// A name as a part of a file name: nothing in it leads elsewhere.
fn file_part(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).take(80).collect()
}

/// Replaces ids and time stamps in every text.
fn steady(json: &mut Json) {
    match json {
        Json::String(text) => {
            let steadied = UUID.replace_all(text, "<id>");
            let steadied = STAMP.replace_all(&steadied, "<time>");
            if *steadied != *text {
                *text = steadied.into_owned();
            }
        }
        Json::Array(items) => items.iter_mut().for_each(steady),
        Json::Object(map) => map.values_mut().for_each(steady),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshots(folder: &std::path::Path, update: bool) -> Snapshots {
        let files = Files { base: folder.to_owned(), root: None, enabled: true };
        Snapshots { files, flow: "my flow/../x".to_owned(), update }
    }

    fn value(id: &str, n: i64) -> Value {
        Value::from_json(serde_json::json!({"id": id, "at": "2026-01-02T03:04:05.678Z", "n": n, "key": "s3cr3t"}))
    }

    #[test]
    fn a_snapshot_is_written_once_and_compared_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = HashMap::from([("KEY".to_owned(), "s3cr3t".to_owned())]);
        let one = value("0197f3a0-1111-7222-8333-444455556666", 1);
        let missing = snapshots(folder.path(), false).differs("body", &one, &secrets).unwrap_err();
        assert!(missing.help.unwrap().contains("--update-snapshots"));
        assert_eq!(snapshots(folder.path(), true).differs("body", &one, &secrets).unwrap(), None);
        let written = std::fs::read_to_string(folder.path().join(FOLDER).join("my_flow____x.body.json")).unwrap();
        assert!(!written.contains("s3cr3t") && written.contains("<id>") && written.contains("<time>"), "{written}");
        let other_id = value("aaaaaaaa-bbbb-cccc-dddd-eeeeffff0000", 1);
        assert_eq!(snapshots(folder.path(), false).differs("body", &other_id, &secrets).unwrap(), None);
        let other_n = value("0197f3a0-1111-7222-8333-444455556666", 2);
        let diff = snapshots(folder.path(), false).differs("body", &other_n, &secrets).unwrap().unwrap();
        assert!(diff.contains("-  \"n\": 1") && diff.contains("+  \"n\": 2"), "{diff}");
    }

    #[test]
    fn nothing_is_written_where_flows_may_use_no_files() {
        let shut = Snapshots { files: Files::none(), flow: "f".to_owned(), update: true };
        assert!(shut.differs("x", &Value::Int(1), &HashMap::new()).is_err());
    }
}
