//! What a step does with its page: a list of small steps, read from the configuration.

use bytestring::ByteString;
use serde_json::{Value as Json, json};

use crate::action::ActionError;
use crate::engine::Resolved;
use crate::record::ErrorKind;
use crate::value::Value;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    Goto(ByteString),
    Back,
    Reload,
    Click(ByteString),
    Hover(ByteString),
    /// Selectors and texts.
    Fill(Vec<(ByteString, ByteString)>),
    /// Selectors and options.
    Select(Vec<(ByteString, ByteString)>),
    Tick(ByteString, bool),
    Press {
        key: ByteString,
        selector: Option<ByteString>,
    },
    /// As the page's `expect` takes it.
    Expect(Json),
    /// Names and expressions.
    Evaluate(Vec<(ByteString, ByteString)>),
    Screenshot {
        selector: Option<ByteString>,
        full_page: bool,
    },
}

impl Act {
    /// For people: `click: #save`.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Goto(url) => format!("goto: {url}"),
            Self::Back => "back".to_owned(),
            Self::Reload => "reload".to_owned(),
            Self::Click(selector) => format!("click: {selector}"),
            Self::Hover(selector) => format!("hover: {selector}"),
            Self::Fill(fields) => format!("fill: {}", names(fields)),
            Self::Select(fields) => format!("select: {}", names(fields)),
            Self::Tick(selector, true) => format!("check: {selector}"),
            Self::Tick(selector, false) => format!("uncheck: {selector}"),
            Self::Press { key, .. } => format!("press: {key}"),
            Self::Expect(wanted) => format!("expect: {wanted}"),
            Self::Evaluate(expressions) => format!("evaluate: {}", names(expressions)),
            Self::Screenshot { .. } => "screenshot".to_owned(),
        }
    }
}

fn names(pairs: &[(ByteString, ByteString)]) -> String {
    pairs.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(", ")
}

/// Reads `url` and `steps`.
pub(super) fn read(config: &Resolved) -> Result<Vec<Act>, ActionError> {
    let mut acts = Vec::new();
    acts.extend(config.text("url")?.map(Act::Goto));
    for (at, step) in config.list("steps")?.iter().enumerate() {
        let place = format!("steps[{at}]");
        let entries = step.entries().filter(|map| map.entries.len() == 1);
        let word = step.as_str().map(|word| (ByteString::from(word), Value::Bool(true)));
        let entry =
            entries.and_then(|map| map.entries.iter().next().map(|(name, value)| (name.clone(), value.clone())));
        let Some((name, value)) = entry.or(word) else {
            return Err(wrong(&place, "takes one thing to do, such as `click: \"#save\"`"));
        };
        acts.extend(act(&name, &value, &format!("{place}.{name}"))?);
    }
    if acts.is_empty() {
        return Err(ActionError::new(ErrorKind::Config, "`steps` is empty: there is nothing to do"));
    }
    Ok(acts)
}

fn wrong(place: &str, problem: &str) -> ActionError {
    ActionError::new(ErrorKind::Config, format!("`{place}` {problem}"))
}

fn act(name: &str, value: &Value, place: &str) -> Result<Option<Act>, ActionError> {
    let selector = || match value {
        Value::Map(_) | Value::Raw(_) => section(value).required_text("selector"),
        value => text(value, place, "a selector such as `#save`"),
    };
    Ok(Some(match name {
        "goto" => Act::Goto(text(value, place, "a URL")?),
        "back" | "reload" if matches!(value, Value::Bool(false)) => return Ok(None),
        "back" => Act::Back,
        "reload" => Act::Reload,
        "click" => Act::Click(selector()?),
        "hover" => Act::Hover(selector()?),
        "fill" => Act::Fill(pairs(value, place)?),
        "select" => Act::Select(pairs(value, place)?),
        "check" => Act::Tick(selector()?, true),
        "uncheck" => Act::Tick(selector()?, false),
        "press" => match value.entries() {
            Some(_) => {
                let section = section(value);
                Act::Press { key: section.required_text("key")?, selector: section.text("selector")? }
            }
            None => Act::Press { key: text(value, place, "a key such as `Enter`")?, selector: None },
        },
        "expect" => Act::Expect(expectation(value, place)?),
        "evaluate" => match value.entries() {
            Some(map) => {
                let expressions = map.entries.iter();
                let one = |(name, value)| Ok((ByteString::clone(name), text(value, place, "expressions")?));
                Act::Evaluate(expressions.map(one).collect::<Result<_, ActionError>>()?)
            }
            None => Act::Evaluate(vec![("value".into(), text(value, place, "an expression of JavaScript")?)]),
        },
        "screenshot" => match value {
            Value::Bool(false) => return Ok(None),
            Value::Map(_) | Value::Raw(_) => {
                let section = section(value);
                let full_page = section.boolean("full_page")?.unwrap_or(false);
                Act::Screenshot { selector: section.text("selector")?, full_page }
            }
            _ => Act::Screenshot { selector: None, full_page: false },
        },
        _ => return Err(wrong(place, "is nothing that a browser can do")),
    }))
}

fn section(value: &Value) -> Resolved {
    let fields =
        value.entries().map(|map| map.entries.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
    Resolved::new(fields.unwrap_or_default())
}

fn text(value: &Value, place: &str, takes: &str) -> Result<ByteString, ActionError> {
    let plain = !value.is_null() && !value.is_list() && !value.is_map();
    let text = value.to_text().filter(|text| plain && !text.is_empty());
    text.ok_or_else(|| wrong(place, &format!("takes {takes}")))
}

/// `{selector, value}`, or a map of selectors to values.
fn pairs(value: &Value, place: &str) -> Result<Vec<(ByteString, ByteString)>, ActionError> {
    let Some(map) = value.entries() else {
        return Err(wrong(place, "takes a map of selectors to texts, such as `{\"#name\": Ada}`"));
    };
    let plain = |value: &Value| value.to_text().unwrap_or_default();
    if let (Some(selector), Some(value)) = (map.get("selector"), map.get("value"))
        && map.entries.len() == 2
    {
        return Ok(vec![(text(selector, place, "a selector")?, plain(value))]);
    }
    Ok(map.entries.iter().map(|(selector, value)| (selector.clone(), plain(value))).collect())
}

fn expectation(value: &Value, place: &str) -> Result<Json, ActionError> {
    const TEXTS: [&str; 6] = ["selector", "text", "contains", "value", "title", "url"];
    let Some(map) = value.entries() else {
        return Ok(json!({"selector": &*text(value, place, "a selector, or what is expected of it")?}));
    };
    let section = section(value);
    let mut wanted = serde_json::Map::new();
    for (name, _) in &map.entries {
        let value = match &**name {
            name if TEXTS.contains(&name) => section.text(name)?.map(|text| Json::from(&*text)),
            "visible" => section.boolean("visible")?.map(Json::from),
            "count" => section.integer("count")?.map(Json::from),
            other => {
                return Err(wrong(
                    place,
                    &format!(
                        "has no `{other}`: it takes `selector`, `text`, `contains`, `value`, `visible`, `count`, `title` and `url`"
                    ),
                ));
            }
        };
        wanted.extend(value.map(|value| (name.to_string(), value)));
    }
    let about_page = wanted.contains_key("title") || wanted.contains_key("url");
    if !about_page && !wanted.contains_key("selector") {
        return Err(wrong(place, "takes a `selector`, a `title` or a `url`"));
    }
    Ok(Json::Object(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: Json, expected: Result<Vec<Act>, &str>) {
        let config = Resolved::new(vec![("steps".into(), Value::from_json(steps))]);
        let found = read(&config).map_err(|error| error.message);
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn what_is_to_be_done_is_read_in_each_form() {
        check(
            json!([{"goto": "http://a"}, {"click": "#b"}]),
            Ok(vec![Act::Goto("http://a".into()), Act::Click("#b".into())]),
        );
        let ada = || vec![("#name".into(), "Ada".into())];
        check(json!([{"fill": {"#name": "Ada"}}]), Ok(vec![Act::Fill(ada())]));
        check(json!([{"fill": {"selector": "#name", "value": "Ada"}}]), Ok(vec![Act::Fill(ada())]));
        check(json!([{"select": {"#name": "Ada"}}]), Ok(vec![Act::Select(ada())]));
        check(
            json!([{"press": {"key": "Enter", "selector": "#b"}}]),
            Ok(vec![Act::Press { key: "Enter".into(), selector: Some("#b".into()) }]),
        );
        check(json!([{"expect": "#b"}]), Ok(vec![Act::Expect(json!({"selector": "#b"}))]));
        check(
            json!([{"expect": {"selector": "#b", "count": "2", "text": 7}}]),
            Ok(vec![Act::Expect(json!({"selector": "#b", "count": 2, "text": "7"}))]),
        );
        check(
            json!(["screenshot", {"screenshot": false}, "back"]),
            Ok(vec![Act::Screenshot { selector: None, full_page: false }, Act::Back]),
        );
        check(json!([{"uncheck": {"selector": "#b"}}]), Ok(vec![Act::Tick("#b".into(), false)]));
    }

    #[test]
    fn what_cannot_be_done_is_told_with_its_place() {
        check(json!([]), Err("`steps` is empty: there is nothing to do"));
        check(
            json!([{"goto": "http://a", "click": "#b"}]),
            Err("`steps[0]` takes one thing to do, such as `click: \"#save\"`"),
        );
        check(json!([{"dance": 1}]), Err("`steps[0].dance` is nothing that a browser can do"));
        check(json!([{"goto": null}]), Err("`steps[0].goto` takes a URL"));
        check(
            json!([{"fill": "x"}]),
            Err("`steps[0].fill` takes a map of selectors to texts, such as `{\"#name\": Ada}`"),
        );
        check(json!([{"expect": {"text": "x"}}]), Err("`steps[0].expect` takes a `selector`, a `title` or a `url`"));
        check(json!([{"screenshot": true}, {"click": {"name": "x"}}]), Err("`selector` is missing"));
    }
}
