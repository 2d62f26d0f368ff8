//! Splits text into commands and words as a shell does: quotes, escapes, line continuations. Variables become references.

use super::words::{reference, unmarked, variable};

type Letters<'t> = std::iter::Peekable<Lines<'t>>;

/// The letters of a text, counting lines.
struct Lines<'t> {
    letters: std::str::Chars<'t>,
    line: usize,
}

impl Iterator for Lines<'_> {
    type Item = (char, usize);

    fn next(&mut self) -> Option<(char, usize)> {
        let letter = self.letters.next()?;
        let line = self.line;
        self.line += usize::from(letter == '\n');
        Some((letter, line))
    }
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Command {
    /// The line it begins at, from 1.
    pub(super) line: usize,
    pub(super) words: Vec<String>,
}

/// The commands of a text.
///
/// # Errors
/// A quote has no end; the text says where it begins.
pub(super) fn commands(text: &str) -> Result<Vec<Command>, String> {
    let text = unmarked(text);
    let text = if text.contains("^\"") { without_carets(&text) } else { text };
    let mut commands = vec![Command::default()];
    let mut word: Option<String> = None;
    let mut letters = Lines { letters: text.chars(), line: 1 }.peekable();
    while let Some((letter, line)) = letters.next() {
        if let Some(command) = commands.last_mut()
            && command.line == 0
            && !letter.is_whitespace()
        {
            command.line = line;
        }
        let unended = || format!("line {line}: a quote has no end");
        match letter {
            '\\' if letters.peek().is_some_and(|(next, _)| matches!(next, '\n' | '\r')) => {
                while letters.next_if(|(next, _)| *next == '\r').is_some() {}
                letters.next_if(|(next, _)| *next == '\n');
            }
            '\\' => word.get_or_insert_default().extend(letters.next().map(|(next, _)| next)),
            '\'' => single_quoted(&mut letters, word.get_or_insert_default()).ok_or_else(unended)?,
            '$' if letters.next_if(|(next, _)| *next == '\'').is_some() => {
                ansi_quoted(&mut letters, word.get_or_insert_default()).ok_or_else(unended)?;
            }
            '$' => dollar(&mut letters, word.get_or_insert_default()),
            '"' => double_quoted(&mut letters, word.get_or_insert_default()).ok_or_else(unended)?,
            '#' if word.is_none() => while letters.next_if(|(next, _)| *next != '\n').is_some() {},
            '\n' | ';' | '|' | '&' => {
                end_word(&mut commands, &mut word);
                commands.push(Command::default());
            }
            '>' | '<' => {
                // `2>file`: where output goes is nothing of the request.
                word.take_if(|word| word.bytes().all(|digit| digit.is_ascii_digit()));
                end_word(&mut commands, &mut word);
                while letters.next_if(|(next, _)| matches!(next, '>' | '&' | ' ' | '\t')).is_some() {}
                while letters.next_if(|(next, _)| !next.is_whitespace() && !matches!(next, ';' | '|')).is_some() {}
            }
            next if next.is_whitespace() => end_word(&mut commands, &mut word),
            next => word.get_or_insert_default().push(next),
        }
    }
    end_word(&mut commands, &mut word);
    commands.retain(|command| !command.words.is_empty());
    Ok(commands)
}

/// A command for the command line of Windows as one for a shell: there `^` escapes, and `$` means nothing.
fn without_carets(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '^' if matches!(letters.peek(), Some('\n' | '\r')) => made.push('\\'),
            '^' => match letters.next() {
                Some('$') => made.push_str("\\$"),
                next => made.extend(next),
            },
            '$' => made.push_str("\\$"),
            other => made.push(other),
        }
    }
    made
}

fn end_word(commands: &mut [Command], word: &mut Option<String>) {
    if let Some(command) = commands.last_mut() {
        command.words.extend(word.take());
    }
}

fn single_quoted(letters: &mut Letters<'_>, word: &mut String) -> Option<()> {
    loop {
        match letters.next()?.0 {
            '\'' => return Some(()),
            next => word.push(next),
        }
    }
}

fn double_quoted(letters: &mut Letters<'_>, word: &mut String) -> Option<()> {
    loop {
        match letters.next()?.0 {
            '"' => return Some(()),
            '\\' => match letters.next()?.0 {
                '\n' => {}
                next @ ('"' | '\\' | '$' | '`') => word.push(next),
                next => word.extend(['\\', next]),
            },
            '$' => dollar(letters, word),
            next => word.push(next),
        }
    }
}

/// `$'…'`, with the escapes of C.
fn ansi_quoted(letters: &mut Letters<'_>, word: &mut String) -> Option<()> {
    loop {
        match letters.next()?.0 {
            '\'' => return Some(()),
            '\\' => match letters.next()?.0 {
                'n' => word.push('\n'),
                'r' => word.push('\r'),
                't' => word.push('\t'),
                kind @ ('u' | 'U' | 'x') => {
                    let most = match kind {
                        'u' => 4,
                        'U' => 8,
                        _ => 2,
                    };
                    let mut code = 0_u32;
                    for _ in 0..most {
                        let Some(digit) = letters.peek().and_then(|(next, _)| next.to_digit(16)) else { break };
                        code = code.wrapping_mul(16).wrapping_add(digit);
                        letters.next();
                    }
                    let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    word.push_str(&unmarked(letter.encode_utf8(&mut [0; 4])));
                }
                next => word.push(next),
            },
            next => word.push(next),
        }
    }
}

/// `$NAME` and `${NAME}` become a reference; `$(…)` stays as it is.
fn dollar(letters: &mut Letters<'_>, word: &mut String) {
    let braced = letters.next_if(|(next, _)| *next == '{').is_some();
    let mut name = String::new();
    while let Some((next, _)) = letters.next_if(|(next, _)| next.is_ascii_alphanumeric() || *next == '_') {
        name.push(next);
    }
    if braced {
        // Of `${NAME:-default}` the name is what counts.
        while letters.next_if(|(next, _)| *next != '}').is_some() {}
        letters.next();
    }
    if name.is_empty() {
        word.push('$');
    } else {
        word.push_str(&reference(&variable(&name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let user = reference("USER");
        for (text, expect) in [
            ("a b  c", vec![vec!["a", "b", "c"]]),
            ("a \\\n  'b c' \"d\\\"e\" f\\ g", vec![vec!["a", "b c", "d\"e", "f g"]]),
            ("a ^\"b ^% c^\" ^\r\n d $X", vec![vec!["a", "b % c", "d", "$X"]]),
            ("a $'x\\ny\\u0041\\'' 'it'\\''s'", vec![vec!["a", "x\nyA'", "it's"]]),
            ("# no\na | b 2>&1; c > out.txt d", vec![vec!["a"], vec!["b"], vec!["c", "d"]]),
            ("a \"$USER\" '$USER' ${USER:-x} $ ''", vec![vec!["a", &user, "$USER", &user, "$", ""]]),
        ] {
            let found: Vec<Vec<String>> =
                commands(text).expect("quotes end").into_iter().map(|command| command.words).collect();
            assert_eq!(found, expect, "{text}");
        }
    }

    #[test]
    fn commands_know_their_line() {
        let lines = |text| commands(text).map(|found| found.iter().map(|command| command.line).collect::<Vec<_>>());
        assert_eq!(lines("# c\n\na \\\n b\nc; d"), Ok(vec![3, 5, 5]));
        for text in ["x\na 'b", "x\na \"b", "x\na $'b"] {
            assert_eq!(lines(text), Err("line 2: a quote has no end".to_owned()), "{text}");
        }
    }
}
