//! Does a changed value do what its description says? A table of changes, each with what must be different then.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

use super::helm::{self, Manifest};
use super::tools::Tools;
use super::yaml;
use crate::workspace::{self, Failure};

/// The components that have the same values.
const ROLES: [&str; 4] = ["server", "scheduler", "runner", "storage"];

/// One change, and what comes of it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The value that is changed.
    pub(super) value: String,
    /// What is set besides, in both renderings.
    base: Value,
    /// What the value becomes.
    set: Value,
    /// Where to look: `Kind/name`, or `Kind` for the only one.
    object: String,
    /// Where in the object: keys, indices and names of list elements, separated by `/`, with `~1` for a `/`. Empty: the
    /// object itself.
    pub(super) at: String,
    expect: Expect,
}

/// What is seen there after the change, and not before.
#[derive(Debug, Clone, PartialEq)]
enum Expect {
    /// This; a map may have further keys.
    Is(Value),
    /// A text with this in it.
    Has(String),
    /// Something, and nothing before.
    There,
    /// Nothing, and something before.
    Gone,
}

/// Reads the table; rows with `{role}` stand for one of each role.
pub(super) fn table(text: &str) -> Result<Vec<Row>, Failure> {
    let document = yaml::document(text)?;
    let bases = &document["bases"];
    let mut rows = Vec::new();
    for (index, entry) in document["rows"].as_array().into_iter().flatten().enumerate() {
        let all = entry.to_string();
        let roles: &[&str] = if all.contains("{role}") { &ROLES } else { &[""] };
        for role in roles {
            let entry: Value = serde_json::from_str(&all.replace("{role}", role))?;
            rows.push(row(&entry, bases).map_err(|error| format!("row {}: {error}: {all}", index + 1))?);
        }
    }
    Ok(rows)
}

fn row(entry: &Value, bases: &Value) -> Result<Row, Failure> {
    let text = |key: &str| entry[key].as_str().map(str::to_owned);
    let known = ["value", "base", "with", "set", "object", "at", "is", "has", "there"];
    if let Some(key) =
        entry.as_object().into_iter().flatten().map(|(key, _)| key).find(|key| !known.contains(&key.as_str()))
    {
        return Err(format!("`{key}` is no part of a row").into());
    }
    let expect = match (entry.get("is"), text("has"), entry["there"].as_bool()) {
        (Some(value), None, None) => Expect::Is(value.clone()),
        (None, Some(part), None) => Expect::Has(part),
        (None, None, Some(true)) => Expect::There,
        (None, None, Some(false)) => Expect::Gone,
        _ => return Err("one of `is`, `has` and `there` says what comes of it".into()),
    };
    let name = text("base").unwrap_or_else(|| "embedded".to_owned());
    let mut base = bases.get(&name).ok_or_else(|| format!("there is no base `{name}`"))?.clone();
    merge(&mut base, &entry["with"]);
    Ok(Row {
        value: text("value").ok_or("it has no `value`")?,
        base,
        set: entry.get("set").ok_or("it has no `set`")?.clone(),
        object: text("object").ok_or("it has no `object`")?,
        at: text("at").unwrap_or_default(),
        expect,
    })
}

/// Puts `more` over `values`, key by key.
fn merge(values: &mut Value, more: &Value) {
    match (values, more) {
        (Value::Object(values), Value::Object(more)) => {
            for (key, value) in more {
                merge(values.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (values, more) => *values = more.clone(),
    }
}

/// The values of a row after its change.
fn changed(row: &Row) -> Value {
    let mut values = row.base.clone();
    let mut place = &mut values;
    for key in row.value.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key];
    }
    *place = row.set.clone();
    values
}

/// What does not happen as the table says, one text for each row.
pub(super) fn judge(tools: &Tools, chart: &Path, rows: &[Row]) -> Result<Vec<String>, Failure> {
    let folder = tempfile::tempdir()?;
    let newest = tools.schemas.last().map_or("1.37", |(release, _)| release);
    // Equal values are rendered once.
    let sets: BTreeSet<String> = rows.iter().flat_map(|row| [row.base.to_string(), changed(row).to_string()]).collect();
    let sets: Vec<String> = sets.into_iter().collect();
    let (next, rendered) = (AtomicUsize::new(0), Mutex::new(vec![None; sets.len()]));
    let work = || -> Result<(), String> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(values) = sets.get(index) else { return Ok(()) };
            let path = folder.path().join(format!("{index}.yaml"));
            std::fs::write(&path, values).map_err(|error| error.to_string())?;
            let outcome = helm::render(tools, chart, &path, newest).map_err(|error| error.to_string())?;
            rendered.lock().map_err(|error| error.to_string())?[index] = Some(outcome);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..std::thread::available_parallelism().map_or(2, usize::from)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".to_owned())))
    })?;
    let rendered = rendered.into_inner().map_err(|error| error.to_string())?;
    let find = |values: &Value| sets.binary_search(&values.to_string()).ok().and_then(|index| rendered[index].as_ref());
    let judged = rows.iter().filter_map(|row| {
        let trouble = match (find(&row.base), find(&changed(row))) {
            (Some(Ok(before)), Some(Ok(after))) => compare(row, before, after),
            (Some(Err(refusal)), _) | (_, Some(Err(refusal))) => Some(format!("helm refuses: {refusal}")),
            _ => Some("it was not rendered".to_owned()),
        };
        trouble.map(|trouble| format!("`{}` = {}: {trouble}", row.value, row.set))
    });
    Ok(judged.collect())
}

fn compare(row: &Row, before: &[Manifest], after: &[Manifest]) -> Option<String> {
    let (before, after) = (look(before, &row.object, &row.at), look(after, &row.object, &row.at));
    let place = format!("{} {}", row.object, row.at);
    let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    let is_so = |seen: Option<&Value>| match &row.expect {
        Expect::Is(wanted) => seen.is_some_and(|seen| holds(wanted, seen)),
        Expect::Has(part) => seen.is_some_and(|seen| seen.as_str().is_some_and(|text| text.contains(part))),
        Expect::There => seen.is_some(),
        Expect::Gone => seen.is_none(),
    };
    if !is_so(after) {
        return Some(format!("{place} is {}, and {:?} was expected", shown(after), row.expect));
    }
    is_so(before).then(|| format!("{place} is {} before the change too", shown(before)))
}

fn look<'m>(manifests: &'m [Manifest], object: &str, at: &str) -> Option<&'m Value> {
    let is_named = |manifest: &&Manifest| {
        let name = manifest.short_name();
        name == object || (!object.contains('/') && name.split('/').next() == Some(object))
    };
    let found = &manifests.iter().find(is_named)?.object;
    if at.is_empty() {
        return Some(found);
    }
    at.split('/').try_fold(found, |value, key| {
        let key = key.replace("~1", "/");
        match value {
            Value::Array(items) => match key.parse::<usize>() {
                Ok(index) => items.get(index),
                Err(_) => items.iter().find(|item| item["name"] == *key || item["alert"] == *key),
            },
            _ => value.get(&key),
        }
    })
}

/// Whether what is seen has all that is wanted.
fn holds(wanted: &Value, seen: &Value) -> bool {
    match (wanted, seen) {
        (Value::Object(wanted), Value::Object(seen)) => {
            wanted.iter().all(|(key, wanted)| seen.get(key).is_some_and(|seen| holds(wanted, seen)))
        }
        (Value::Array(wanted), Value::Array(seen)) => {
            wanted.len() == seen.len() && wanted.iter().zip(seen).all(|(wanted, seen)| holds(wanted, seen))
        }
        (wanted, seen) => wanted == seen,
    }
}

/// The table of the chart.
pub(super) fn read(root: &Path) -> Result<Vec<Row>, Failure> {
    let path = root.join(super::EFFECTS);
    table(&workspace::read(&path)?).map_err(|error| format!("{}: {error}", super::EFFECTS).into())
}

/// The values that helm must refuse and does not, or not for the reason that the table gives.
pub(super) fn not_refused(tools: &Tools, root: &Path, chart: &Path) -> Result<Vec<String>, Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("values.yaml");
    let newest = tools.schemas.last().map_or("1.37", |(release, _)| release);
    let document = yaml::document(&workspace::read(&root.join(super::EFFECTS))?)?;
    let refusals = document["refusals"].as_array().filter(|refusals| !refusals.is_empty());
    let mut found = Vec::new();
    for refusal in refusals.ok_or("the table has no refusals")? {
        let (set, says) = (&refusal["set"], refusal["says"].as_str().ok_or("a refusal does not say why")?);
        std::fs::write(&path, set.to_string())?;
        match helm::render(tools, chart, &path, newest)? {
            Ok(_) => found.push(format!("helm takes {set}, which cannot work: {says}")),
            Err(said) if !said.contains(says) => {
                found.push(format!("helm refuses {set}, but not for `{says}`: {said}"));
            }
            Err(_) => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifests(replicas: i64) -> Vec<Manifest> {
        let object = json!({
            "kind": "Deployment", "metadata": {"name": "t-testmesh-server", "annotations": {"a/b": "c"}},
            "spec": {"replicas": replicas, "env": [{"name": "A", "value": "x,y"}]},
        });
        vec![Manifest { template: String::new(), object }]
    }

    fn only(text: &str) -> Row {
        let rows = format!("bases: {{embedded: {{a: {{b: 1}}}}}}\nrows:\n  - {text}\n");
        table(&rows).unwrap().remove(0)
    }

    #[test]
    fn a_change_must_be_seen_and_must_be_one() {
        let row = only("{value: server.replicas, set: 2, object: Deployment/server, at: spec/replicas, is: 2}");
        assert_eq!(changed(&row), json!({"a": {"b": 1}, "server": {"replicas": 2}}));
        assert_eq!(compare(&row, &manifests(1), &manifests(2)), None);
        assert!(compare(&row, &manifests(1), &manifests(1)).unwrap().contains("was expected"));
        assert!(compare(&row, &manifests(2), &manifests(2)).unwrap().contains("before the change too"));
        assert!(compare(&row, &manifests(1), &[]).unwrap().contains("nothing"));
    }

    #[test]
    fn places_are_keys_indices_and_names() {
        let manifests = manifests(1);
        let at = |object: &str, at: &str| look(&manifests, object, at).cloned();
        assert_eq!(at("Deployment", "metadata/annotations/a~1b"), Some(json!("c")));
        assert_eq!(at("Deployment/server", "spec/env/A/value"), Some(json!("x,y")));
        assert_eq!(at("Deployment/server", "spec/env/0/name"), Some(json!("A")));
        assert_eq!(at("Deployment/runner", ""), None);
    }

    #[test]
    fn a_row_of_roles_stands_for_each_of_them() {
        let text = "bases: {embedded: {}}\nrows:\n  - {value: '{role}.replicas', set: 3, object: 'Deployment/{role}', there: true}\n";
        let rows = table(text).unwrap();
        assert_eq!(
            rows.iter().map(|row| row.value.as_str()).collect::<Vec<_>>(),
            ["server.replicas", "scheduler.replicas", "runner.replicas", "storage.replicas"]
        );
    }

    #[test]
    fn a_row_that_says_nothing_is_refused() {
        let refuse = |text: &str| table(&format!("bases: {{embedded: {{}}}}\nrows: [{text}]")).unwrap_err().to_string();
        assert!(refuse("{value: a, set: 1, object: b}").contains("`is`"));
        assert!(refuse("{value: a, set: 1, object: b, is: 1, base: z}").contains("no base `z`"));
        assert!(refuse("{value: a, set: 1, object: b, is: 1, wat: 1}").contains("`wat`"));
    }
}
