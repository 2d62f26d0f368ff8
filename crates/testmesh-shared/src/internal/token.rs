//! The secret that the processes of one TestMesh show each other.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tokio_util::sync::CancellationToken;

use super::follow;

/// Fewest characters: 32 hexadecimal digits are 128 bits.
const SHORTEST: usize = 32;
/// Most characters: what fits a header with room to spare.
const LONGEST: usize = 512;
/// Most tokens at once: the newest, the one before, and some for mistakes.
const MOST: usize = 8;

/// One secret or several, one on a line: all are accepted, the first is sent. Empty lines and those that begin with `#`
/// do not count. Clones share the secrets, and [`InternalToken::replace`] changes them for all.
///
/// To change the secret without an interruption: add the new one as a second line everywhere, then make it the first
/// line everywhere, then take the old one away.
#[derive(Clone)]
pub struct InternalToken {
    known: Arc<RwLock<Arc<Known>>>,
}

struct Known {
    sent: HeaderValue,
    /// Hashes, so that comparing takes the same time for a token of any length.
    accepted: Vec<[u8; 32]>,
}

/// A text that holds no usable token. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is nothing in it.
    #[error("it holds no token; `openssl rand -hex 32` makes one")]
    Empty,
    /// One of them is too easy to guess.
    #[error(
        "line {line} has {found} characters, and a token needs at least {SHORTEST}; `openssl rand -hex 32` makes one"
    )]
    Short {
        /// From 1.
        line: usize,
        /// Its length.
        found: usize,
    },
    /// One of them does not fit a header.
    #[error("line {line} has more than {LONGEST} characters")]
    Long {
        /// From 1.
        line: usize,
    },
    /// One of them cannot be sent.
    #[error("line {line} holds a space or a character that is not visible ASCII")]
    Characters {
        /// From 1.
        line: usize,
    },
    /// More than anybody can keep apart.
    #[error("it holds more than {MOST} tokens")]
    TooMany,
}

impl InternalToken {
    /// Reads the content of a token file.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        Ok(Self { known: Arc::new(RwLock::new(Arc::new(read(text)?))) })
    }

    /// Takes other secrets from now on; whether they are others than before. With an error the old ones stay.
    ///
    /// # Errors
    /// As [`InternalToken::parse`].
    pub fn replace(&self, text: &str) -> Result<bool, TokenError> {
        let new = read(text)?;
        let mut known = self.known.write();
        if known.accepted == new.accepted {
            return Ok(false);
        }
        *known = Arc::new(new);
        Ok(true)
    }

    /// Reads the file at `path` every five seconds and takes its secrets, until `stop` fires. What cannot be used is
    /// logged, and the secrets known before stay.
    pub async fn follow(self, path: PathBuf, stop: CancellationToken) {
        follow::follow("internal token", &[path], &stop, |texts| {
            let text = std::str::from_utf8(&texts[0]).map_err(|_| "it is no UTF-8".to_owned())?;
            self.replace(text).map_err(|error| error.to_string())
        })
        .await;
    }

    /// Whether `presented` is one of them. Takes the same time for every token of a length.
    pub(super) fn accepts(&self, presented: &[u8]) -> bool {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let known = Arc::clone(&self.known.read());
        let equal = known.accepted.iter().fold(Choice::from(0), |found, accepted| found | accepted.ct_eq(&hash));
        bool::from(equal)
    }

    /// The `Authorization` header to send.
    pub(super) fn header(&self) -> HeaderValue {
        self.known.read().sent.clone()
    }
}

// Written by hand: a secret is not printed.
impl fmt::Debug for InternalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InternalToken({} accepted)", self.known.read().accepted.len())
    }
}

fn read(text: &str) -> Result<Known, TokenError> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut sent = None;
    let mut accepted = Vec::new();
    for (line, token) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        match token.len() {
            _ if !token.bytes().all(|byte| byte.is_ascii_graphic()) => return Err(TokenError::Characters { line }),
            found if found < SHORTEST => return Err(TokenError::Short { line, found }),
            found if found > LONGEST => return Err(TokenError::Long { line }),
            _ if accepted.len() == MOST => return Err(TokenError::TooMany),
            _ => {}
        }
        accepted.push(Sha256::digest(token.as_bytes()).into());
        if sent.is_none() {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).expect("visible ASCII fits a header");
            value.set_sensitive(true);
            sent = Some(value);
        }
    }
    sent.map(|sent| Known { sent, accepted }).ok_or(TokenError::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";

    #[test]
    fn unusable_texts_are_refused_without_being_quoted() {
        let check = |text: &str, expect: TokenError| {
            let error = InternalToken::parse(text).unwrap_err();
            assert_eq!(error, expect, "{text:?}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        };
        check("", TokenError::Empty);
        check("\n  \n# only a comment\n", TokenError::Empty);
        check(" s3cret \n", TokenError::Short { line: 1, found: 6 });
        check(&format!("{OLD}\n\ns3cret"), TokenError::Short { line: 3, found: 6 });
        check(&"x".repeat(513), TokenError::Long { line: 1 });
        check(&format!("{OLD} s3cret"), TokenError::Characters { line: 1 });
        check(&format!("{OLD}ä"), TokenError::Characters { line: 1 });
        check(&format!("{OLD}\n").repeat(9), TokenError::TooMany);
    }

    #[test]
    fn every_line_is_accepted_and_the_first_is_sent() {
        let token = InternalToken::parse(&format!("# rotated today\n{NEW}  \r\n\n{OLD}\n")).unwrap();
        assert!(token.accepts(OLD.as_bytes()) && token.accepts(NEW.as_bytes()));
        assert!(!token.accepts(b"") && !token.accepts(&OLD.as_bytes()[1..]));
        assert_eq!(token.header().to_str().unwrap(), format!("Bearer {NEW}"));
    }

    #[test]
    fn all_clones_take_new_secrets_and_keep_the_old_on_a_mistake() {
        let token = InternalToken::parse(OLD).unwrap();
        let clone = token.clone();
        assert!(token.replace("short").is_err());
        assert!(clone.accepts(OLD.as_bytes()));
        assert_eq!(token.replace(&format!("{OLD}\n")), Ok(false));
        assert_eq!(token.replace(NEW), Ok(true));
        assert!(clone.accepts(NEW.as_bytes()) && !clone.accepts(OLD.as_bytes()));
    }

    #[test]
    fn nothing_prints_a_secret() {
        let token = InternalToken::parse(OLD).unwrap();
        assert_eq!(format!("{token:?} {:?}", token.header()), "InternalToken(1 accepted) Sensitive");
    }
}
