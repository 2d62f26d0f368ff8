//! Reads dotenv files: `KEY=value`, quotes, `export`, comments, values of several lines in double quotes.

use indexmap::IndexMap;

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DotenvProblem {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong, a lower-case fragment.
    pub message: String,
}

/// What is wrong with a dotenv file: every line of it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DotenvError {
    /// At least one.
    pub problems: Vec<DotenvProblem>,
}

impl std::fmt::Display for DotenvError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}line {}: {}", problem.line, problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for DotenvError {}

/// Reads a dotenv file. Values are texts, taken as they stand: nothing is expanded in them. A later line wins.
///
/// - `KEY=value`, with or without `export`; white space around both is left out, and so is ` # comment`
/// - `'…'` is taken literally; `"…"` knows `\n \r \t \" \\ \$`; both may go on over several lines
///
/// # Errors
/// Every line that is none of these.
pub fn parse_dotenv(text: &str) -> Result<IndexMap<String, String>, DotenvError> {
    let mut values = IndexMap::new();
    let mut problems = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut line = 1;
    while !rest.is_empty() {
        let (outcome, length) = assignment(rest);
        match outcome {
            Ok(Some((key, value))) => {
                values.insert(key, value);
            }
            Ok(None) => {}
            Err(message) => problems.push(DotenvProblem { line, message }),
        }
        let consumed = &rest[..length];
        line += u32::try_from(consumed.matches('\n').count()).unwrap_or(u32::MAX);
        rest = &rest[length..];
    }
    if problems.is_empty() { Ok(values) } else { Err(DotenvError { problems }) }
}

type Assignment = Result<Option<(String, String)>, String>;

/// What the text begins with, and how many bytes of it that is, line end included.
fn assignment(text: &str) -> (Assignment, usize) {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let line = text[..end].trim();
    if line.is_empty() || line.starts_with('#') {
        return (Ok(None), end);
    }
    let indent = text.len() - text.trim_start().len();
    let body = &text[indent..];
    let body = body.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(body).trim_start();
    let Some((key, _)) = body.split_once('=').filter(|(key, _)| !key.contains('\n')) else {
        return (Err(format!("`{line}` is not `KEY=value`")), end);
    };
    let value_start = text.len() - body.len() + key.len() + 1;
    let key = key.trim();
    if !is_name(key) {
        return (Err(format!("`{key}` is not a name: letters, digits, `_`, `.` and `-`, no digit first")), end);
    }
    let (value, length) = value(&text[value_start..]);
    (value.map(|value| Some((key.to_owned(), value))), value_start + length)
}

fn is_name(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.chars().all(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '.' | '-'))
}

/// The value at the start of `text`, and how many bytes it takes, line end included.
fn value(text: &str) -> (Result<String, String>, usize) {
    let trimmed = text.trim_start_matches([' ', '\t']);
    let skipped = text.len() - trimmed.len();
    if let Some(quote @ ('"' | '\'')) = trimmed.chars().next() {
        let (value, length) = quoted(trimmed, quote);
        let after = &trimmed[length..];
        let end = after.find('\n').map_or(after.len(), |at| at + 1);
        let tail = after[..end].trim();
        let value = match value {
            Ok(_) if !tail.is_empty() && !tail.starts_with('#') => Err(format!("`{tail}` follows the closing quote")),
            other => other,
        };
        return (value, skipped + length + end);
    }
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let line = &text[..end];
    let comment = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
    (Ok(line[..comment].trim().to_owned()), end)
}

/// The text in quotes at the start of `text`, and its length with the quotes; without a closing quote, its line's.
fn quoted(text: &str, quote: char) -> (Result<String, String>, usize) {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return (Ok(value), at + 1),
            '\\' if quote == '"' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, escaped @ ('"' | '\\' | '$'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            // The file's line ends are not part of what a value says.
            '\r' if text[at..].starts_with("\r\n") => {}
            other => value.push(other),
        }
    }
    let line = text.find('\n').unwrap_or(text.len());
    (Err(format!("the closing {quote} is missing")), line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let values = parse_dotenv(text).expect(text);
        let values: Vec<(&str, &str)> = values.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(values, expected, "{text}");
    }

    #[test]
    fn values_are_read_in_every_form() {
        check("A=1\nB = two words \n", &[("A", "1"), ("B", "two words")]);
        check("# c\n\nexport A=1 # c\nexported=2", &[("A", "1"), ("exported", "2")]);
        check("A='x # $y \\n'\nB=\"a\\n\\\"b\\\" \\$c\" # c", &[("A", "x # $y \\n"), ("B", "a\n\"b\" $c")]);
        check("KEY=\"one\r\ntwo\"\r\nB=x\r\n", &[("KEY", "one\ntwo"), ("B", "x")]);
        check("URL=postgres://u:p@h:5432/d?sslmode=disable#x", &[("URL", "postgres://u:p@h:5432/d?sslmode=disable#x")]);
        check("\u{feff}A=\nA=2", &[("A", "2")]);
        check("  PADDED=yes", &[("PADDED", "yes")]);
        check("", &[]);
    }

    #[test]
    fn every_bad_line_is_reported_with_its_number() {
        let error = parse_dotenv("A=1\nnonsense\n1B=2\nC=\"x\" y\nD=\"open\nE=3").expect_err("five of them are wrong");
        let lines: Vec<u32> = error.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3, 4, 5], "{error}");
        assert!(error.to_string().starts_with("line 2: `nonsense` is not `KEY=value`; line 3: "), "{error}");
    }
}
