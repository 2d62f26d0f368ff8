//! The words of a command, from the action's name and its configuration.

use std::time::Duration;

use bytes::Bytes;

use crate::action::ActionError;
use crate::engine::Resolved;
use crate::record::ErrorKind;
use crate::value::Value;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Its name in capitals: the first word.
    name: String,
    /// All of its words, as they are written.
    pub(super) words: Vec<Bytes>,
}

/// Commands of two words.
const CONTAINERS: [&str; 13] = [
    "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "FUNCTION", "LATENCY", "MEMORY", "MODULE", "OBJECT", "PUBSUB",
    "SCRIPT", "SLOWLOG",
];
/// More of them, whose first word is no command by itself.
const GROUPS: [&str; 2] = ["XGROUP", "XINFO"];
/// Commands whose map is names and values.
const PAIRS: [&str; 6] = ["HSET", "HMSET", "MSET", "MSETNX", "XADD", "ZADD"];
/// Commands whose list is several values.
const LISTS: [&str; 14] = [
    "LPUSH",
    "RPUSH",
    "LPUSHX",
    "RPUSHX",
    "SADD",
    "SREM",
    "ZREM",
    "SMISMEMBER",
    "ZMSCORE",
    "PFADD",
    "HDEL",
    "HMGET",
    "ZADD",
    "MSET",
];

impl Command {
    /// Reads it. `verb` is what the action's name says after `redis.`.
    pub(super) fn read(verb: Option<&str>, config: &Resolved) -> Result<Self, ActionError> {
        let mut words = named(verb, config)?;
        let name = words.first().map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).unwrap_or_default();
        let ttl = config.duration("ttl")?;
        let keys = config.list("key")?;
        words.extend(keys.iter().map(word));
        if name == "XADD" && !config.list("args")?.iter().any(|argument| matches!(argument.as_str(), Some("*"))) {
            words.push(Bytes::from_static(b"*"));
        }
        words.extend(config.list("field")?.iter().map(word));
        if let ("EXPIRE" | "PEXPIRE" | "SETEX" | "PSETEX", Some(ttl)) = (name.as_str(), ttl) {
            words.push(lifetime(&name, ttl));
        }
        if let Some(value) = config.value("value").filter(|value| !value.is_null()) {
            add_value(&mut words, &name, value);
        }
        if let ("SET" | "GETEX", Some(ttl)) = (name.as_str(), ttl) {
            words.extend([Bytes::from_static(b"PX"), lifetime("PX", ttl)]);
        }
        words.extend(config.list("args")?.iter().map(word));
        Ok(Self { name, words })
    }

    /// Whether its integer says how many keys are gone.
    pub(super) fn deletes(&self) -> bool {
        matches!(self.name.as_str(), "DEL" | "UNLINK")
    }

    /// For the record. What `AUTH` and its like say is not shown.
    pub(super) fn shown(&self) -> Value {
        let secret = matches!(self.name.as_str(), "AUTH" | "HELLO" | "ACL" | "MIGRATE");
        let shown = |(at, word): (usize, &Bytes)| match std::str::from_utf8(word) {
            _ if secret && at > 0 => Value::from("***"),
            Ok(text) => Value::from(text),
            Err(_) => Value::Bytes(word.clone()),
        };
        Value::list(self.words.iter().enumerate().map(shown).collect())
    }
}

fn named(verb: Option<&str>, config: &Resolved) -> Result<Vec<Bytes>, ActionError> {
    let written = match (verb, config.value("command")) {
        (Some(verb), _) => return Ok(of_verb(verb)),
        (None, Some(Value::Text(text))) => {
            split(text).ok_or_else(|| problem("`command` has a quote without its end"))?
        }
        (None, Some(list)) if list.is_list() => list.items().iter().flat_map(|items| items.iter()).map(word).collect(),
        (None, _) => Vec::new(),
    };
    if written.is_empty() {
        return Err(problem("`command` is missing: `GET`, `SET`, … (or name it in the action: `redis.get`)"));
    }
    Ok(written)
}

fn problem(message: &str) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

/// `config_get` is `CONFIG GET`, `get` is `GET`.
fn of_verb(verb: &str) -> Vec<Bytes> {
    let name = verb.to_ascii_uppercase();
    match name.split_once(['_', '.']) {
        Some((first, second)) if CONTAINERS.contains(&first) || GROUPS.contains(&first) => {
            vec![Bytes::from(first.to_owned()), Bytes::from(second.replace(['_', '.'], "-"))]
        }
        _ => vec![Bytes::from(name)],
    }
}

/// The words of a command line; quotes keep spaces.
fn split(text: &str) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let Some(first) = letters.peek().copied() else { return Some(words) };
        let mut word = String::new();
        if first == '"' || first == '\'' {
            letters.next();
            loop {
                match letters.next()? {
                    letter if letter == first => break,
                    '\\' if first == '"' => word.push(letters.next()?),
                    letter => word.push(letter),
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| !letter.is_whitespace()) {
                word.push(letter);
            }
        }
        words.push(Bytes::from(word));
    }
}

fn lifetime(name: &str, ttl: Duration) -> Bytes {
    let number = match name {
        "EXPIRE" | "SETEX" => u128::from(ttl.as_secs().max(1)),
        _ => ttl.as_millis(),
    };
    Bytes::from(number.to_string())
}

fn add_value(words: &mut Vec<Bytes>, name: &str, value: &Value) {
    match value.entries() {
        Some(entries) if PAIRS.contains(&name) => {
            for (key, value) in &entries.entries {
                let key = key.as_bytes().clone();
                // A member's score comes before it.
                words.extend(if name == "ZADD" { [word(value), key] } else { [key, word(value)] });
            }
        }
        _ => match value.items() {
            Some(items) if LISTS.contains(&name) => words.extend(items.iter().map(word)),
            _ => words.push(word(value)),
        },
    }
}

/// A value as one word.
fn word(value: &Value) -> Bytes {
    match value {
        Value::Bytes(bytes) => bytes.clone(),
        _ => value.to_text().map(|text| text.as_bytes().clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(verb: Option<&str>, config: serde_json::Value, expected: &str) {
        let serde_json::Value::Object(map) = config else { panic!("a map") };
        let fields = map.into_iter().map(|(name, value)| (name.into(), Value::from_json(value))).collect();
        let words = match Command::read(verb, &Resolved::new(fields)) {
            Ok(command) => command
                .words
                .iter()
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect::<Vec<_>>()
                .join("|"),
            Err(error) => error.message,
        };
        assert_eq!(words, expected);
    }

    #[test]
    fn commands_are_put_together_from_name_and_configuration() {
        check(Some("get"), json!({"key": "a"}), "GET|a");
        check(Some("set"), json!({"key": "a", "value": {"b": 1}, "ttl": "1.5s"}), "SET|a|{\"b\":1}|PX|1500");
        check(Some("del"), json!({"key": ["a", "b"]}), "DEL|a|b");
        check(Some("hset"), json!({"key": "h", "value": {"a": 1, "b": "x"}}), "HSET|h|a|1|b|x");
        check(Some("hget"), json!({"key": "h", "field": "a"}), "HGET|h|a");
        check(Some("zadd"), json!({"key": "z", "value": {"ada": 2}}), "ZADD|z|2|ada");
        check(Some("rpush"), json!({"key": "l", "value": [1, "two"]}), "RPUSH|l|1|two");
        check(Some("xadd"), json!({"key": "s", "value": {"n": 1}}), "XADD|s|*|n|1");
        check(Some("expire"), json!({"key": "a", "ttl": "2m"}), "EXPIRE|a|120");
        check(Some("config_get"), json!({"args": ["max*"]}), "CONFIG|GET|max*");
        check(None, json!({"command": "SET a 'b c' EX 10"}), "SET|a|b c|EX|10");
        check(None, json!({"command": ["LRANGE", "l", 0, -1]}), "LRANGE|l|0|-1");
        check(None, json!({"command": "incrby", "key": "n", "args": [5]}), "incrby|n|5");
        check(None, json!({}), "`command` is missing: `GET`, `SET`, … (or name it in the action: `redis.get`)");
        check(None, json!({"command": "SET 'a"}), "`command` has a quote without its end");
    }

    #[test]
    fn passwords_are_not_shown() {
        let command = Command { name: "AUTH".to_owned(), words: vec!["AUTH".into(), "secret".into()] };
        assert_eq!(command.shown().to_json(), json!(["AUTH", "***"]));
    }
}
