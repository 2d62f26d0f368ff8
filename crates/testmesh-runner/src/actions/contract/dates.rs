//! Formats of dates and times as Java writes them, which Pact files have taken over.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use chrono::NaiveDate;
use regex::{Captures, Regex};

/// The format that is meant when none is given.
pub(super) fn default_format(kind: &str) -> &'static str {
    match kind {
        "date" => "yyyy-MM-dd",
        "time" => "HH:mm:ss",
        _ => "yyyy-MM-dd'T'HH:mm:ssXXX",
    }
}

/// A part of a format.
enum Part {
    Literal(String),
    /// A letter, and how often it stands there.
    Field(char, usize),
}

fn parts(format: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = format.chars().peekable();
    while let Some(next) = rest.next() {
        if next == '\'' {
            parts.push(Part::Literal(quoted(&mut rest)));
        } else if next.is_ascii_alphabetic() {
            let mut count = 1;
            while rest.next_if_eq(&next).is_some() {
                count += 1;
            }
            parts.push(Part::Field(next, count));
        } else {
            parts.push(Part::Literal(next.to_string()));
        }
    }
    parts
}

/// What stands between quotes; two of them are one.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(next) = rest.next() {
        if next != '\'' {
            text.push(next);
        } else if rest.next_if_eq(&'\'').is_some() {
            text.push('\'');
        } else {
            break;
        }
    }
    if text.is_empty() { "'".to_owned() } else { text }
}

/// The months as texts may have them, in order.
const MONTHS: &[&str] = &[
    "Jan(?:uary)?",
    "Feb(?:ruary)?",
    "Mar(?:ch)?",
    "Apr(?:il)?",
    "May",
    "June?",
    "July?",
    "Aug(?:ust)?",
    "Sep(?:t|tember)?",
    "Oct(?:ober)?",
    "Nov(?:ember)?",
    "Dec(?:ember)?",
];
const DAYS: &str = "Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?";

/// What texts of a format look like.
#[derive(Debug, Clone)]
pub(super) struct Format {
    /// As it is written.
    pub(super) shown: String,
    pattern: Regex,
}

impl Format {
    pub(super) fn read(format: &str) -> Result<Self, String> {
        let pattern = format!("^(?:{})$", pattern(format)?);
        let pattern = Regex::new(&pattern).map_err(|error| format!("the format `{format}` cannot be used: {error}"))?;
        Ok(Self { shown: format.to_owned(), pattern })
    }

    /// Whether a text is of this format, and the day that it names exists.
    pub(super) fn fits(&self, text: &str) -> bool {
        self.pattern.captures(text).is_some_and(|found| day_exists(&found))
    }
}

fn day_exists(found: &Captures<'_>) -> bool {
    let number = |name: &str| found.name(name).and_then(|part| part.as_str().parse::<u32>().ok());
    let begins = |part: &str| {
        MONTHS.iter().position(|month| part.to_ascii_lowercase().starts_with(&month[..3].to_ascii_lowercase()))
    };
    let month = found
        .name("month")
        .and_then(|part| part.as_str().parse::<u32>().ok().or_else(|| u32::try_from(begins(part.as_str())? + 1).ok()));
    // Without a year, one that has a 29th of February.
    let year = number("year").and_then(|year| i32::try_from(year).ok()).unwrap_or(2000);
    match (month, number("day")) {
        (Some(month), Some(day)) => NaiveDate::from_ymd_opt(year, month, day).is_some(),
        _ => true,
    }
}

/// A regular expression for texts of a format.
fn pattern(format: &str) -> Result<String, String> {
    let mut pattern = String::new();
    let mut named = Vec::new();
    for part in parts(format) {
        let (letter, count) = match part {
            Part::Literal(text) => {
                pattern.push_str(&regex::escape(&text));
                continue;
            }
            Part::Field(letter, count) => (letter, count),
        };
        let unknown = || format!("`{}` means nothing in the format `{format}`", letter.to_string().repeat(count));
        let piece = field(letter, count).ok_or_else(unknown)?;
        let name = match letter {
            'y' | 'u' => "year",
            'M' | 'L' => "month",
            'd' => "day",
            _ => "",
        };
        if name.is_empty() || named.contains(&name) {
            pattern.push_str(&piece);
        } else {
            named.push(name);
            let _ = write!(pattern, "(?P<{name}>{piece})");
        }
    }
    Ok(pattern)
}

/// What a letter stands for that is there so many times.
fn field(letter: char, count: usize) -> Option<String> {
    let one = count == 1;
    Some(match letter {
        'y' | 'u' | 'Y' if count == 2 => r"\d{2}".to_owned(),
        'y' | 'u' | 'Y' => r"-?\d{4,}".to_owned(),
        'M' | 'L' if count >= 3 => format!("(?i:{})", MONTHS.join("|")),
        'M' | 'L' if one => "(?:1[0-2]|0?[1-9])".to_owned(),
        'M' | 'L' => "(?:0[1-9]|1[0-2])".to_owned(),
        'd' if one => "(?:[12][0-9]|3[01]|0?[1-9])".to_owned(),
        'd' => "(?:0[1-9]|[12][0-9]|3[01])".to_owned(),
        'D' => r"\d{1,3}".to_owned(),
        'E' | 'e' => format!("(?i:{DAYS})"),
        'H' if one => "(?:2[0-3]|[01]?[0-9])".to_owned(),
        'H' => "(?:[01][0-9]|2[0-3])".to_owned(),
        'k' => "(?:1[0-9]|2[0-4]|0?[1-9])".to_owned(),
        'h' | 'K' if one => "(?:1[0-2]|0?[0-9])".to_owned(),
        'h' | 'K' => "(?:0[0-9]|1[0-2])".to_owned(),
        'm' | 's' if one => "[0-5]?[0-9]".to_owned(),
        'm' => "[0-5][0-9]".to_owned(),
        's' => "(?:[0-5][0-9]|60)".to_owned(),
        // Libraries differ in how many digits they take, and all take a few more or fewer.
        'S' | 'n' | 'A' | 'N' => r"\d{1,9}".to_owned(),
        'a' => "(?i:AM|PM)".to_owned(),
        'w' | 'W' | 'F' => r"\d{1,2}".to_owned(),
        'G' => "(?:AD|BC)".to_owned(),
        'X' if one => format!("(?:Z|{OFFSET_HOURS}(?:{MINUTES})?)"),
        'X' if count == 2 => format!("(?:Z|{OFFSET_HOURS}{MINUTES})"),
        'X' => format!("(?:Z|{OFFSET_HOURS}:{MINUTES}(?::{MINUTES})?)"),
        'x' if one => format!("{OFFSET_HOURS}(?:{MINUTES})?"),
        'x' if count == 2 => format!("{OFFSET_HOURS}{MINUTES}"),
        'x' => format!("{OFFSET_HOURS}:{MINUTES}(?::{MINUTES})?"),
        'Z' if count >= 5 => format!("(?:Z|{OFFSET_HOURS}:{MINUTES})"),
        'Z' => format!("{OFFSET_HOURS}{MINUTES}"),
        'z' | 'V' | 'v' | 'O' => r"[A-Za-z][A-Za-z0-9_/+:-]*".to_owned(),
        _ => return None,
    })
}

/// Hours of an offset from UTC.
const OFFSET_HOURS: &str = "[+-](?:0[0-9]|1[0-8])";
const MINUTES: &str = "[0-5][0-9]";

/// The format in the language of `chrono`, to write a time; `None` when it has a part that cannot be written.
pub(super) fn strftime(format: &str) -> Option<String> {
    let mut out = String::new();
    for part in parts(format) {
        let piece = match part {
            Part::Literal(text) => {
                out.push_str(&text.replace('%', "%%"));
                continue;
            }
            Part::Field('y' | 'u' | 'Y', 2) => "%y",
            Part::Field('y' | 'u' | 'Y', _) => "%Y",
            Part::Field('M' | 'L', 1) => "%-m",
            Part::Field('M' | 'L', 2) => "%m",
            Part::Field('M' | 'L', 3) => "%b",
            Part::Field('M' | 'L', _) => "%B",
            Part::Field('d', 1) => "%-d",
            Part::Field('d', _) => "%d",
            Part::Field('E', 4..) => "%A",
            Part::Field('E', _) => "%a",
            Part::Field('H', 1) => "%-H",
            Part::Field('H', _) => "%H",
            Part::Field('h', 1) => "%-I",
            Part::Field('h', _) => "%I",
            Part::Field('m', 1) => "%-M",
            Part::Field('m', _) => "%M",
            Part::Field('s', 1) => "%-S",
            Part::Field('s', _) => "%S",
            Part::Field('S', 3) => "%3f",
            Part::Field('S', 6) => "%6f",
            Part::Field('S', 9) => "%9f",
            Part::Field('a', _) => "%p",
            // Times are written in UTC.
            Part::Field('X', _) => "Z",
            Part::Field('x', 3..) => "+00:00",
            Part::Field('x' | 'Z', _) => "+0000",
            Part::Field('z', _) => "UTC",
            Part::Field(..) => return None,
        };
        out.push_str(piece);
    }
    Some(out)
}
