//! What values.yaml says of itself: every value with its description, its default and its line.
//!
//! The format is the file's own: `# -- text` above a key describes it, further comment lines go on with the text, and any
//! other comment above a key introduces the part below it.

use std::fmt::Write;

use serde_json::Value;

use super::yaml;
use crate::workspace::Failure;

/// A described value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    /// Its path: `image.tag`.
    pub(super) path: String,
    /// Where it is in the file, from 1.
    pub(super) line: usize,
    /// What it does.
    pub(super) text: String,
    /// What it is when nothing is said.
    pub(super) default: Value,
}

/// The file, read.
#[derive(Debug)]
pub(super) struct Values {
    /// Every described value, in the order of the file.
    pub(super) described: Vec<Described>,
    /// What introduces a part, by the part's path.
    parts: Vec<(String, String)>,
    /// All of it.
    tree: Value,
}

impl Values {
    /// Reads the file's text.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let tree = yaml::document(text)?;
        let mut values = Self { described: Vec::new(), parts: Vec::new(), tree };
        let mut keys: Vec<(usize, String)> = Vec::new();
        let mut comment: Vec<&str> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let bare = line.trim_start();
            if let Some(words) = bare.strip_prefix('#') {
                comment.push(words.trim());
                continue;
            }
            let indent = line.len() - bare.len();
            let key = bare.split_once(':').map(|(key, _)| key).filter(|key| is_key(key));
            if let Some(key) = key {
                keys.retain(|(depth, _)| *depth < indent);
                keys.push((indent, key.to_owned()));
                values.take(&keys, index + 1, &comment);
            }
            comment.clear();
        }
        Ok(values)
    }

    fn take(&mut self, keys: &[(usize, String)], line: usize, comment: &[&str]) {
        let names: Vec<_> = keys.iter().map(|(_, name)| name.as_str()).collect();
        let path = names.join(".");
        let Some(first) = comment.first() else { return };
        let text = comment.join(" ");
        if first.starts_with("--") {
            let default = at(&self.tree, &path).cloned().unwrap_or_default();
            let text = text.trim_start_matches('-').trim().to_owned();
            self.described.push(Described { path, line, text, default });
        } else {
            self.parts.push((path, text));
        }
    }

    /// The values that no description covers.
    pub(super) fn undescribed(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect("", &self.tree, &mut found);
        found
    }

    fn collect(&self, path: &str, value: &Value, found: &mut Vec<String>) {
        if self.described.iter().any(|described| described.path == path) {
            return;
        }
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.collect(&path, value, found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }

    /// The book's page of values.
    pub(super) fn page(&self) -> String {
        let mut page =
            "# Values of the chart\n\nWritten by `cargo xtask chart --bless` from `deploy/helm/testmesh/values.yaml`. \
                        Unknown values are refused.\n"
                .to_owned();
        let mut current = None;
        for described in &self.described {
            let part = described.path.split_once('.').map_or("", |(part, _)| part);
            if current != Some(part) {
                current = Some(part);
                let title = if part.is_empty() { "the release".to_owned() } else { format!("`{part}`") };
                let is_again = page.contains(&format!("\n## Values of {title}\n"));
                let again = if is_again { ", continued" } else { "" };
                // Writing to a string cannot fail.
                let _ = writeln!(page, "\n## Values of {title}{again}\n");
                if let Some((_, text)) = self.parts.iter().find(|(path, _)| path == part) {
                    let _ = writeln!(page, "{text}\n");
                }
                page.push_str("| value | default | |\n|---|---|---|\n");
            }
            let default = shown(&described.default);
            let _ = writeln!(page, "| `{}` | {default} | {} |", described.path, described.text.replace('|', "\\|"));
        }
        page
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn shown(default: &Value) -> String {
    match default {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{}`", other.to_string().replace('|', "\\|")),
    }
}

/// The value at a path with dots.
pub(super) fn at<'v>(tree: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(tree, |value, key| value.get(key))
}

/// What a schema has against the values: those it does not know, those that only it knows, objects that take anything.
pub(super) fn against_schema(values: &Values, schema: &Value) -> Vec<String> {
    let mut comparison = Comparison { values, schema, found: Vec::new() };
    comparison.compare("", &values.tree, schema);
    comparison.found
}

/// Values and schema, walked side by side.
struct Comparison<'a> {
    values: &'a Values,
    schema: &'a Value,
    found: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn compare(&mut self, path: &str, value: &Value, node: &'a Value) {
        let node = match node["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.schema.pointer(pointer).unwrap_or(node),
            None => node,
        };
        let name = if path.is_empty() { "the whole" } else { path };
        let Some(properties) = node["properties"].as_object() else {
            let is_leaf = self.values.described.iter().any(|described| described.path == path);
            if !is_leaf {
                self.found.push(format!("`{name}` has no `properties` in the schema"));
            }
            return;
        };
        if node["additionalProperties"] != false {
            self.found.push(format!("`{name}` takes unknown keys"));
        }
        if self.values.described.iter().any(|described| described.path == path) {
            // Described as one value: its keys are those of another type, such as a container's resources.
            return;
        }
        let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        for (key, value) in value.as_object().into_iter().flatten() {
            match properties.get(key) {
                Some(property) => self.compare(&join(key), value, property),
                None => self.found.push(format!("`{}` is not in the schema", join(key))),
            }
        }
        for key in properties.keys() {
            // Helm hands this down to charts by itself.
            if value.get(key).is_none() && join(key) != "global" {
                self.found.push(format!("`{}` is in the schema and not in values.yaml", join(key)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "# About the file.\n\n# -- The name.\nname: \"\"\n# The image.\nimage:\n  # -- Its tag,\n  # if any.\n  tag: a\n  size: 1\n";

    #[test]
    fn descriptions_lines_and_defaults_are_read() {
        let values = Values::parse(TEXT).unwrap();
        let tag = Described {
            path: "image.tag".to_owned(),
            line: 9,
            text: "Its tag, if any.".to_owned(),
            default: json!("a"),
        };
        assert_eq!((values.described.len(), &values.described[1]), (2, &tag));
        assert_eq!(values.undescribed(), ["image.size"]);
        let page = values.page();
        assert!(
            page.contains("## Values of `image`\n\nThe image.\n\n")
                && page.contains("| `image.tag` | `a` | Its tag, if any. |"),
            "{page}"
        );
    }

    #[test]
    fn a_schema_that_does_not_fit_is_found() {
        let values = Values::parse("# -- A.\na: 1\nb:\n  # -- C.\n  c: 1\n").unwrap();
        let strict = |properties: Value| json!({"additionalProperties": false, "properties": properties});
        let good = strict(json!({"a": {}, "b": {"$ref": "#/definitions/b"}, "global": {}}));
        let with = |b: Value| {
            let mut schema = good.clone();
            schema["definitions"]["b"] = b;
            against_schema(&values, &schema)
        };
        assert_eq!(with(strict(json!({"c": {}}))), Vec::<String>::new());
        assert_eq!(with(strict(json!({}))), ["`b.c` is not in the schema"]);
        assert_eq!(with(strict(json!({"c": {}, "d": {}}))), ["`b.d` is in the schema and not in values.yaml"]);
        assert_eq!(with(json!({"properties": {"c": {}}})), ["`b` takes unknown keys"]);
    }
}
