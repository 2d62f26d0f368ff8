//! `testmesh-server config`: what is in force and where it came from.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::mask::masked;
use super::resolve::{Origin, Value};
use super::{Settings, ShowFormat};

/// All settings, as a table or as JSON, with a line's end.
pub(crate) fn show(settings: &Settings, format: ShowFormat) -> String {
    let rows = settings.in_force.values();
    match format {
        ShowFormat::Text => text(settings, rows),
        ShowFormat::Json => {
            let rows: Vec<Json> = rows.iter().map(|row| object(settings, row)).collect();
            format!("{:#}\n", Json::Array(rows))
        }
    }
}

/// What may be shown of the value in force.
fn value(settings: &Settings, row: &Value) -> Option<String> {
    let text = row.text.clone().filter(|text| !text.is_empty()).or_else(|| settings.computed(&row.setting.key))?;
    if row.setting.is_list {
        let items: Vec<_> = text.split(',').map(|item| masked(item, row.setting.is_secret)).collect();
        return Some(items.join(","));
    }
    Some(masked(&text, row.setting.is_secret))
}

fn text(settings: &Settings, rows: &[Value]) -> String {
    let header = ("setting".to_owned(), "value".to_owned(), "from".to_owned());
    let cells: Vec<_> = std::iter::once(header)
        .chain(rows.iter().map(|row| {
            let shown = value(settings, row).unwrap_or_else(|| "-".to_owned());
            (row.setting.key.clone(), shown, row.origin.to_string())
        }))
        .collect();
    let width = |cell: fn(&(String, String, String)) -> &String| {
        cells.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0)
    };
    let (first, second) = (width(|row| &row.0), width(|row| &row.1));
    let mut table = String::new();
    for (key, value, from) in &cells {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{key:first$}  {value:second$}  {from}");
    }
    table
}

fn object(settings: &Settings, row: &Value) -> Json {
    let setting = &row.setting;
    let shown = value(settings, row);
    let shown = match shown {
        Some(text) if setting.is_list => json!(text.split(',').collect::<Vec<_>>()),
        other => json!(other),
    };
    let (source, place) = match &row.origin {
        Origin::Flag => ("flag", Some(setting.flag.clone())),
        origin @ Origin::Variable(_) => ("environment", Some(origin.to_string())),
        origin @ Origin::File(_) => ("file", Some(origin.to_string())),
        origin @ Origin::Named { .. } => ("named file", Some(origin.to_string())),
        Origin::Default => ("default", None),
    };
    json!({
        "name": setting.key,
        "value": shown,
        "source": source,
        "place": place,
        "flag": setting.flag,
        "variable": setting.variable,
        "file_variable": setting.file_variable(),
        "secret": setting.is_secret,
        "list": setting.is_list,
        "value_name": setting.value_name,
        "default": setting.default,
        "group": setting.group,
        "description": setting.description,
    })
}
