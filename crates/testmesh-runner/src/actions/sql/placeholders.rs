//! Finds `$n` and `?` in a statement, outside texts, names and comments, and writes them the way a database takes them.

/// How a database writes its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `$1`.
    Numbered,
    /// `?`.
    Question,
}

/// A statement in a database's own style: its text, and for each place the parameter that goes there, from 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) text: String,
    pub(super) order: Vec<usize>,
}

/// Writes `statement`, which has `count` parameters, in `style`.
///
/// # Errors
/// A fragment that says which parameter is missing or left over.
pub(super) fn place(statement: &str, count: usize, style: Style) -> Result<Placed, String> {
    let found = find(statement);
    let numbered = found.iter().any(|mark| mark.number.is_some());
    // With `$n` in it, or with as many parameters as it has not, `?` is an operator of PostgreSQL.
    if style == Style::Question && numbered && found.iter().any(|mark| mark.number.is_none()) {
        return Err("`query` mixes `$1` and `?`: write all parameters one way".to_owned());
    }
    let marks: Vec<&Mark> = found.iter().filter(|mark| mark.number.is_some() == numbered).collect();
    if style == Style::Numbered && !numbered && marks.len() != count {
        return check(count, 0).map(|()| Placed { text: statement.to_owned(), order: Vec::new() });
    }
    let order: Vec<usize> = marks.iter().enumerate().map(|(at, mark)| mark.number.unwrap_or(at + 1) - 1).collect();
    check(count, order.iter().max().map_or(0, |most| most + 1))?;
    if style == Style::Numbered {
        let text =
            if numbered { statement.to_owned() } else { rewritten(statement, &marks, |at| format!("${}", at + 1)) };
        return Ok(Placed { text, order: (0..count).collect() });
    }
    Ok(Placed { text: rewritten(statement, &marks, |_| "?".to_owned()), order })
}

fn check(given: usize, used: usize) -> Result<(), String> {
    if given == used {
        return Ok(());
    }
    Err(format!("`query` uses {used} parameter{}, `params` gives {given}", if used == 1 { "" } else { "s" }))
}

fn rewritten(statement: &str, marks: &[&Mark], name: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(statement.len() + marks.len() * 2);
    let mut done = 0;
    for (at, mark) in marks.iter().enumerate() {
        text.push_str(&statement[done..mark.start]);
        text.push_str(&name(at));
        done = mark.end;
    }
    text.push_str(&statement[done..]);
    text
}

#[derive(Debug)]
struct Mark {
    start: usize,
    end: usize,
    /// From 1; none for `?`.
    number: Option<usize>,
}

fn find(statement: &str) -> Vec<Mark> {
    let bytes = statement.as_bytes();
    let mut marks = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &statement[at..];
        match bytes[at] {
            quote @ (b'\'' | b'"' | b'`') => at += quoted(rest, char::from(quote)),
            b'-' if rest.starts_with("--") => at += rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => at += rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            b'?' => {
                marks.push(Mark { start: at, end: at + 1, number: None });
                at += 1;
            }
            b'$' => {
                let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
                let inside_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
                match rest[1..=digits].parse::<usize>() {
                    Ok(number) if number > 0 && !inside_name => {
                        marks.push(Mark { start: at, end: at + 1 + digits, number: Some(number) });
                        at += 1 + digits;
                    }
                    _ if inside_name => at += 1,
                    _ => at += dollar_quoted(rest),
                }
            }
            _ => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    marks
}

/// Length of a quoted text at the start of `rest`; a quote in it is written twice, or after a backslash.
fn quoted(rest: &str, quote: char) -> usize {
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            if letters.peek().is_some_and(|(_, next)| *next == quote) {
                letters.next();
            } else {
                return at + letter.len_utf8();
            }
        }
    }
    rest.len()
}

/// Length of `$tag$ … $tag$` at the start of `rest`, or of the dollar alone.
fn dollar_quoted(rest: &str) -> usize {
    let Some(tag) = rest[1..].find('$').map(|end| &rest[..end + 2]) else { return 1 };
    if !tag[1..tag.len() - 1].chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
        return 1;
    }
    rest[tag.len()..].find(tag).map_or(rest.len(), |end| tag.len() + end + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_written_in_each_style() {
        use Style::{Numbered, Question};
        for (statement, count, style, expected, order) in [
            ("select $1, $2", 2, Numbered, "select $1, $2", vec![0, 1]),
            ("select ?, ?", 2, Numbered, "select $1, $2", vec![0, 1]),
            ("select $2, $1, $2", 2, Question, "select ?, ?, ?", vec![1, 0, 1]),
            (
                "select ?, '?', \"?\", `?` -- ?\n /* ? */ , ?",
                2,
                Question,
                "select ?, '?', \"?\", `?` -- ?\n /* ? */ , ?",
                vec![0, 1],
            ),
            ("select 'it''s $1', $1", 1, Question, "select 'it''s $1', ?", vec![0]),
            (
                "select doc ? 'key' from t where id = $1",
                1,
                Numbered,
                "select doc ? 'key' from t where id = $1",
                vec![0],
            ),
            ("select doc ? 'key'", 0, Numbered, "select doc ? 'key'", vec![]),
            ("do $x$ $1 ? $x$", 0, Numbered, "do $x$ $1 ? $x$", vec![]),
            ("select 'ä', $1", 1, Question, "select 'ä', ?", vec![0]),
            ("select a$1 from t", 0, Question, "select a$1 from t", vec![]),
        ] {
            assert_eq!(place(statement, count, style), Ok(Placed { text: expected.to_owned(), order }), "{statement}");
        }
    }

    #[test]
    fn a_wrong_number_of_parameters_is_refused() {
        for (statement, count, expected) in [
            ("select $1", 0, "`query` uses 1 parameter, `params` gives 0"),
            ("select $1, $3", 2, "`query` uses 3 parameters, `params` gives 2"),
            ("select 1", 1, "`query` uses 0 parameters, `params` gives 1"),
        ] {
            for style in [Style::Numbered, Style::Question] {
                assert_eq!(place(statement, count, style), Err(expected.to_owned()));
            }
        }
        assert!(place("select $1, ?", 1, Style::Question).unwrap_err().contains("mixes"));
    }
}
