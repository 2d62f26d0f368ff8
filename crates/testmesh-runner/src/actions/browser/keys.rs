//! The keys that can be pressed, as the DevTools protocol names them.

use crate::flow::suggest;

/// A key, with those that are held beside it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) code: String,
    /// The number that old pages know it by.
    pub(super) number: u32,
    /// What it types.
    pub(super) text: Option<String>,
    /// Bits: Alt 1, Control 2, Meta 4, Shift 8.
    pub(super) modifiers: u32,
}

/// Name, number, and what it types.
const NAMED: &[(&str, u32, Option<&str>)] = &[
    ("Enter", 13, Some("\r")),
    ("Tab", 9, None),
    ("Escape", 27, None),
    ("Backspace", 8, None),
    ("Delete", 46, None),
    ("Space", 32, Some(" ")),
    ("ArrowLeft", 37, None),
    ("ArrowUp", 38, None),
    ("ArrowRight", 39, None),
    ("ArrowDown", 40, None),
    ("Home", 36, None),
    ("End", 35, None),
    ("PageUp", 33, None),
    ("PageDown", 34, None),
];
const MODIFIERS: &[(&str, u32)] = &[("Alt", 1), ("Control", 2), ("Ctrl", 2), ("Meta", 4), ("Shift", 8)];

/// With these held, a key commands and types nothing.
const COMMANDS: u32 = 1 | 2 | 4;

/// `Enter`, `a`, `Control+a`.
pub(super) fn find(written: &str) -> Result<Key, String> {
    let mut modifiers = 0;
    let mut rest = written;
    while let Some((held, after)) = rest.split_once('+').filter(|(_, after)| !after.is_empty()) {
        let bit = MODIFIERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(held));
        modifiers |= bit.ok_or_else(|| unknown(written))?.1;
        rest = after;
    }
    if let Some((name, number, text)) = NAMED.iter().find(|(name, ..)| name.eq_ignore_ascii_case(rest)) {
        let key = if *name == "Space" { " " } else { name };
        let text = text.filter(|_| modifiers & COMMANDS == 0).map(str::to_owned);
        return Ok(Key { name: key.to_owned(), code: (*name).to_owned(), number: *number, text, modifiers });
    }
    let mut letters = rest.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else { return Err(unknown(written)) };
    let code = match letter {
        letter if letter.is_ascii_alphabetic() => format!("Key{}", letter.to_ascii_uppercase()),
        letter if letter.is_ascii_digit() => format!("Digit{letter}"),
        _ => String::new(),
    };
    let number = if code.is_empty() { 0 } else { u32::from(letter.to_ascii_uppercase()) };
    let text = Some(letter.to_string()).filter(|_| modifiers & COMMANDS == 0);
    Ok(Key { name: letter.to_string(), code, number, text, modifiers })
}

fn unknown(written: &str) -> String {
    let names = || NAMED.iter().map(|(name, ..)| *name);
    let help = suggest::did_you_mean(&suggest::near(written, names()))
        .unwrap_or_else(|| format!("it takes one letter, or {}", suggest::quoted(&names().collect::<Vec<_>>())));
    format!("there is no key `{written}`: {help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_name_letter_and_what_is_held() {
        for (written, key, code, number, text, modifiers) in [
            ("Enter", "Enter", "Enter", 13, Some("\r"), 0),
            ("a", "a", "KeyA", 65, Some("a"), 0),
            ("Control+a", "a", "KeyA", 65, None, 2),
            ("shift+Tab", "Tab", "Tab", 9, None, 8),
            ("7", "7", "Digit7", 55, Some("7"), 0),
            ("+", "+", "", 0, Some("+"), 0),
        ] {
            let text = text.map(str::to_owned);
            let expected = Key { name: key.to_owned(), code: code.to_owned(), number, text, modifiers };
            assert_eq!(find(written).unwrap(), expected, "{written}");
        }
        assert_eq!(find("Entr").unwrap_err(), "there is no key `Entr`: did you mean `Enter`?");
        assert!(find("Hyper+a").unwrap_err().starts_with("there is no key `Hyper+a`: it takes one letter, or `Enter`"));
    }
}
