//! The fields of a request's body, read one by one, so that all that is wrong is said in one answer.

use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::Request;
use serde_json::{Map, Value};

use crate::answer::Refusal;
use crate::money::Money;

/// Most characters of a text.
const LONGEST: usize = 2_000;
/// Most pieces of anything.
pub(crate) const MOST: i64 = 1_000_000_000;

/// A body that is an object, and what was found wrong with it.
#[derive(Debug)]
pub(crate) struct Fields {
    object: Map<String, Value>,
    problems: Vec<(String, String)>,
    /// What stands before the names in messages.
    within: String,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| Refusal::Unacceptable("invalid_body", error.body_text()))?;
        Self::read(&bytes)
    }
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Self::of(object, String::new())),
            Ok(_) => Err(Refusal::Unacceptable("invalid_body", "the body must be a JSON object".to_owned())),
            Err(_) => Err(Refusal::Unacceptable("invalid_body", "the body is not JSON".to_owned())),
        }
    }

    fn of(object: Map<String, Value>, within: String) -> Self {
        Self { object, problems: Vec::new(), within }
    }

    /// Notes that a field is wrong.
    pub(crate) fn wrong(&mut self, name: &str, problem: &str) {
        self.problems.push((format!("{}{name}", self.within), problem.to_owned()));
    }

    /// What was found wrong.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        if self.problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid(self.problems)) }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Whether none of these is given.
    pub(crate) fn lacks_all(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.value(name).is_none())
    }

    /// A text, without the blanks around it; an empty one is wrong.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let problem = match self.value(name)? {
            Value::String(text) if text.trim().is_empty() => "must not be empty",
            Value::String(text) if text.chars().count() > LONGEST => "is too long",
            Value::String(text) if text.contains('\0') => "must not hold a zero character",
            Value::String(text) => return Some(text.trim().to_owned()),
            _ => "must be a string",
        };
        self.wrong(name, problem);
        None
    }

    /// A text that must be there; an empty one stands for what was wrong.
    pub(crate) fn required_text(&mut self, name: &str) -> String {
        self.need(name);
        self.text(name).unwrap_or_default()
    }

    /// An e-mail address, in lower case.
    pub(crate) fn email(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?.to_lowercase();
        if is_email(&text) {
            return Some(text);
        }
        self.wrong(name, "must be an e-mail address");
        None
    }

    /// An amount of money above zero.
    pub(crate) fn money(&mut self, name: &str) -> Option<Money> {
        let problem = match self.value(name)?.as_f64().map(Money::of) {
            Some(Some(money)) if money > Money::ZERO => return Some(money),
            Some(Some(_)) => "must be greater than 0",
            Some(None) => "is too large",
            None => "must be a number",
        };
        self.wrong(name, problem);
        None
    }

    /// A whole number from `least` up.
    pub(crate) fn count(&mut self, name: &str, least: i64) -> Option<i64> {
        let value = self.value(name)?;
        let problem = match value.as_i64() {
            Some(number) if number < least => format!("must be at least {least}"),
            Some(number) if number > MOST => format!("must be at most {MOST}"),
            Some(number) => return Some(number),
            None => "must be a whole number".to_owned(),
        };
        self.wrong(name, &problem);
        None
    }

    /// A list of objects with at least one in it.
    pub(crate) fn list(&mut self, name: &str) -> Vec<Fields> {
        let problem = match self.value(name) {
            None => "is required",
            Some(Value::Array(list)) if list.is_empty() => "must have at least one entry",
            Some(Value::Array(list)) if list.len() > 100 => "must have at most 100 entries",
            Some(Value::Array(list)) if !list.iter().all(Value::is_object) => "must be a list of objects",
            Some(Value::Array(list)) => {
                let objects = list.iter().enumerate().filter_map(|(index, value)| match value {
                    Value::Object(object) => Some(Self::of(object.clone(), format!("{name}[{index}]."))),
                    _ => None,
                });
                return objects.collect();
            }
            Some(_) => "must be a list",
        };
        self.wrong(name, problem);
        Vec::new()
    }

    /// Takes over what was found wrong in a part.
    pub(crate) fn take_problems(&mut self, part: Fields) {
        self.problems.extend(part.problems);
    }

    /// Notes a field that is not there.
    pub(crate) fn need(&mut self, name: &str) {
        if self.value(name).is_none() {
            self.wrong(name, "is required");
        }
    }
}

/// Something before one `@`, and a host name with a dot after it.
fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.split_once('@') else { return false };
    let plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '@');
    let labels = || host.split('.');
    text.len() <= 254 && plain(name) && plain(host) && labels().count() > 1 && labels().all(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(body: &str, read: impl Fn(&mut Fields)) -> Vec<String> {
        let mut fields = Fields::read(body.as_bytes()).unwrap();
        read(&mut fields);
        fields.problems.iter().map(|(field, problem)| format!("{field} {problem}")).collect()
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let found = problems(r#"{"name": " ", "email": "x", "price": -1, "inventory": 1.5}"#, |fields| {
            fields.required_text("name");
            fields.email("email");
            fields.money("price");
            fields.count("inventory", 0);
            fields.need("city");
        });
        assert_eq!(
            found,
            [
                "name must not be empty",
                "email must be an e-mail address",
                "price must be greater than 0",
                "inventory must be a whole number",
                "city is required",
            ]
        );
    }

    #[test]
    fn entries_of_a_list_are_named_by_their_place() {
        let found = problems(r#"{"items": [{"quantity": 1}, {"quantity": 0}]}"#, |fields| {
            for mut item in fields.list("items") {
                item.count("quantity", 1);
                fields.take_problems(item);
            }
        });
        assert_eq!(found, ["items[1].quantity must be at least 1"]);
        for (body, expect) in [
            (r"{}", "items is required"),
            (r#"{"items": []}"#, "items must have at least one entry"),
            (r#"{"items": "two"}"#, "items must be a list"),
            (r#"{"items": [1]}"#, "items must be a list of objects"),
        ] {
            assert_eq!(problems(body, |fields| drop(fields.list("items"))), [expect]);
        }
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for body in ["", "null", "[]", "\"x\"", "{"] {
            assert!(Fields::read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn addresses_have_a_name_and_a_host() {
        for (text, good) in [
            ("a@b.example", true),
            ("a+b.c@d-e.example", true),
            ("not-an-email", false),
            ("@b.example", false),
            ("a@b", false),
            ("a@b..example", false),
            ("a@b@c.example", false),
            ("a b@c.example", false),
        ] {
            assert_eq!(is_email(text), good, "{text}");
        }
    }
}
