//! The fields of a cron expression, checked one by one so that a mistake is told by the field's name.

use super::CronError;

/// What one field takes.
struct Spec {
    name: &'static str,
    min: u32,
    max: u32,
    /// Names for values, from `min` on.
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const SPECS: [Spec; 6] = [
    Spec { name: "second", min: 0, max: 59, names: &[] },
    Spec { name: "minute", min: 0, max: 59, names: &[] },
    Spec { name: "hour", min: 0, max: 23, names: &[] },
    Spec { name: "day-of-month", min: 1, max: 31, names: &[] },
    Spec { name: "month", min: 1, max: 12, names: MONTHS },
    Spec { name: "day-of-week", min: 0, max: 7, names: WEEKDAYS },
];

/// An expression whose every field is right.
pub(super) struct Checked {
    /// Six fields, numbers in place of names.
    pub(super) canonical: String,
    /// Whether minute and hour both name points on the wall clock.
    pub(super) fixed: bool,
    /// Whether day of month and day of week must both match (one of them begins with `*`), or either.
    pub(super) both_days: bool,
}

/// Checks `fields`, which stand for the expression `text`.
pub(super) fn check(text: &str, fields: &str) -> Result<Checked, CronError> {
    let mut parts: Vec<&str> = fields.split_whitespace().collect();
    match parts.len() {
        5 => parts.insert(0, "0"),
        6 => {}
        found => return Err(CronError::FieldCount { text: text.to_owned(), found }),
    }
    let canonical = SPECS.iter().zip(&parts).map(|(spec, part)| spec.canonical(part)).collect::<Result<Vec<_>, _>>()?;
    let wildcard = |index: usize| canonical[index].starts_with('*');
    Ok(Checked {
        fixed: !wildcard(1) && !wildcard(2),
        both_days: wildcard(3) || wildcard(5),
        canonical: canonical.join(" "),
    })
}

impl Spec {
    fn canonical(&self, part: &str) -> Result<String, CronError> {
        let items = part.split(',').map(|item| self.item(&item.to_ascii_lowercase())).collect::<Result<Vec<_>, _>>()?;
        if items.len() > 1 && items.iter().any(|item| item.starts_with('*')) {
            return Err(self.wrong(part, "mixes `*` with other values: leave one of them out"));
        }
        Ok(items.join(","))
    }

    fn item(&self, item: &str) -> Result<String, CronError> {
        if item.is_empty() {
            return Err(self.wrong(item, "is empty: a value is missing beside a comma"));
        }
        if let Some(special) = self.special(item)? {
            return Ok(special);
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let range = match range.split_once('-') {
            _ if range == "*" => "*".to_owned(),
            Some((first, last)) => self.range(item, first, last)?,
            None if step.is_some() => {
                let hint = format!("steps from one value: write `{range}-{}/…` or `*/…`", self.max);
                return Err(self.wrong(item, &hint));
            }
            None => self.value(item, range)?.to_string(),
        };
        match step {
            None => Ok(range),
            Some(step) => match step.parse::<u32>() {
                Ok(count) if (1..=self.max).contains(&count) => Ok(format!("{range}/{count}")),
                _ => Err(self.wrong(item, &format!("has a step that is not a number from 1 to {}", self.max))),
            },
        }
    }

    /// `L`, `15W`, `LW` of days of the month; `fri#2`, `friL` of days of the week; `?` of both.
    fn special(&self, item: &str) -> Result<Option<String>, CronError> {
        match self.name {
            "day-of-month" => match item {
                "?" => Ok(Some("*".to_owned())),
                "l" => Ok(Some("L".to_owned())),
                _ => match item.strip_suffix('w') {
                    Some(day) => Ok(Some(format!("{}W", self.value(item, day)?))),
                    None => Ok(None),
                },
            },
            "day-of-week" => {
                if item == "?" {
                    return Ok(Some("*".to_owned()));
                }
                if let Some((day, nth)) = item.split_once('#') {
                    let day = self.value(item, day)?;
                    return match nth.parse::<u32>() {
                        Ok(nth @ 1..=5) => Ok(Some(format!("{day}#{nth}"))),
                        _ => Err(self.wrong(item, "counts the days of a month: 1 to 5 comes after `#`")),
                    };
                }
                match item.strip_suffix('l') {
                    Some(day) if !day.is_empty() => Ok(Some(format!("{}#L", self.value(item, day)?))),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    fn range(&self, item: &str, first: &str, last: &str) -> Result<String, CronError> {
        let from = self.value(item, first)?;
        let mut to = self.value(item, last)?;
        if self.name == "day-of-week" && to == 0 && from > 0 {
            // `fri-sun` ends with the week: 7 is Sunday too.
            to = 7;
        }
        if from > to {
            let hint = format!("goes backwards: write `{from}-{},{}-{to}`", self.max, self.min);
            return Err(self.wrong(item, &hint));
        }
        Ok(format!("{from}-{to}"))
    }

    fn value(&self, item: &str, text: &str) -> Result<u32, CronError> {
        if let Some(index) = self.names.iter().position(|name| *name == text) {
            return Ok(self.min + u32::try_from(index).expect("a dozen names at most"));
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(value) if digits && (self.min..=self.max).contains(&value) => Ok(value),
            _ => {
                let names = match (self.names.first(), self.names.last()) {
                    (Some(first), Some(last)) => format!(" or {first} to {last}"),
                    _ => String::new(),
                };
                Err(self.wrong(item, &format!("is out of range: {} to {}{names} is wanted", self.min, self.max)))
            }
        }
    }

    fn wrong(&self, text: &str, rule: &str) -> CronError {
        CronError::Field { field: self.name, text: text.to_owned(), rule: rule.to_owned() }
    }
}
