//! Splits text into commands and words as a shell does: quotes, escapes, line continuations. Variables become references.

use super::{reference, variable};

type Letters<'t> = std::iter::Peekable<std::str::Chars<'t>>;

const UNENDED: &str = "a quote has no end";

/// The words of each command.
///
/// # Errors
/// A quote has no end.
pub(super) fn commands(text: &str) -> Result<Vec<Vec<String>>, &'static str> {
    let mut commands: Vec<Vec<String>> = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            // `^` ends lines in the command line of Windows.
            '\\' | '^' if matches!(letters.peek(), Some('\n' | '\r')) => {
                while letters.next_if(|next| matches!(next, '\r' | '\n')).is_some() {}
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            '\'' => single_quoted(&mut letters, word.get_or_insert_default())?,
            '$' if letters.next_if_eq(&'\'').is_some() => ansi_quoted(&mut letters, word.get_or_insert_default())?,
            '$' => dollar(&mut letters, word.get_or_insert_default()),
            '"' => double_quoted(&mut letters, word.get_or_insert_default())?,
            '#' if word.is_none() => while letters.next_if(|next| *next != '\n').is_some() {},
            '\n' | ';' | '|' | '&' => {
                end_word(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            '>' | '<' => {
                // `2>file`: where output goes is nothing of the request.
                word.take_if(|word| word.bytes().all(|digit| digit.is_ascii_digit()));
                end_word(&mut commands, &mut word);
                while letters.next_if(|next| matches!(next, '>' | '&' | ' ' | '\t')).is_some() {}
                while letters.next_if(|next| !next.is_whitespace() && !matches!(next, ';' | '|')).is_some() {}
            }
            next if next.is_whitespace() => end_word(&mut commands, &mut word),
            next => word.get_or_insert_default().push(next),
        }
    }
    end_word(&mut commands, &mut word);
    commands.retain(|words| !words.is_empty());
    Ok(commands)
}

fn end_word(commands: &mut [Vec<String>], word: &mut Option<String>) {
    if let Some(words) = commands.last_mut() {
        words.extend(word.take());
    }
}

fn single_quoted(letters: &mut Letters<'_>, word: &mut String) -> Result<(), &'static str> {
    loop {
        match letters.next().ok_or(UNENDED)? {
            '\'' => return Ok(()),
            next => word.push(next),
        }
    }
}

fn double_quoted(letters: &mut Letters<'_>, word: &mut String) -> Result<(), &'static str> {
    loop {
        match letters.next().ok_or(UNENDED)? {
            '"' => return Ok(()),
            '\\' => match letters.next().ok_or(UNENDED)? {
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
fn ansi_quoted(letters: &mut Letters<'_>, word: &mut String) -> Result<(), &'static str> {
    loop {
        match letters.next().ok_or(UNENDED)? {
            '\'' => return Ok(()),
            '\\' => match letters.next().ok_or(UNENDED)? {
                'n' => word.push('\n'),
                'r' => word.push('\r'),
                't' => word.push('\t'),
                kind @ ('u' | 'x') => {
                    let mut code = 0;
                    for _ in 0..if kind == 'u' { 4 } else { 2 } {
                        let Some(digit) = letters.peek().and_then(|next| next.to_digit(16)) else { break };
                        code = code * 16 + digit;
                        letters.next();
                    }
                    word.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                next => word.push(next),
            },
            next => word.push(next),
        }
    }
}

/// `$NAME` and `${NAME}` become a reference.
fn dollar(letters: &mut Letters<'_>, word: &mut String) {
    let braced = letters.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(next) = letters.next_if(|next| next.is_ascii_alphanumeric() || *next == '_') {
        name.push(next);
    }
    if braced {
        // Of `${NAME:-default}` the name is what counts.
        while letters.next_if(|next| *next != '}').is_some() {}
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
            ("a ^\r\n b", vec![vec!["a", "b"]]),
            ("a $'x\\ny\\u0041\\'' 'it'\\''s'", vec![vec!["a", "x\nyA'", "it's"]]),
            ("# no\na | b 2>&1; c > out.txt d", vec![vec!["a"], vec!["b"], vec!["c", "d"]]),
            ("a \"$USER\" '$USER' ${USER:-x} $ ''", vec![vec!["a", &user, "$USER", &user, "$", ""]]),
        ] {
            assert_eq!(commands(text).as_deref(), Ok(&*expect.iter().map(|words| words.iter().map(ToString::to_string).collect()).collect::<Vec<Vec<String>>>()), "{text}");
        }
        assert!(commands("a 'b").is_err() && commands("a \"b").is_err() && commands("a $'b").is_err());
    }
}
