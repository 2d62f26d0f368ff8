//! The tokens file: lines of `name:scope:sha256-of-token`, read again when it changes.
//!
//! The file holds hashes of 256 random bits, so a plain SHA-256 is enough. A presented token is compared with every
//! line in constant time. A change that cannot be read keeps what was known and is logged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::scope::Scope;

/// How often the file is looked at, at most.
const POLL: Duration = Duration::from_secs(1);

/// Known tokens.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    known: RwLock<Arc<Vec<Token>>>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Token {
    name: Arc<str>,
    scope: Scope,
    hash: [u8; 32],
}

#[derive(Debug)]
struct Seen {
    stamp: Option<Stamp>,
    at: Instant,
}

type Stamp = (Option<SystemTime>, u64);

/// Who a token belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) name: Arc<str>,
    pub(crate) scope: Scope,
}

/// The tokens file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("read the tokens file `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A line is not `name:scope:sha256`.
    #[error("line {line} of the tokens file `{path}`: {rule}")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it. Never the line itself: it may hold a token by mistake.
        rule: String,
    },
}

/// A token that was just made: the one time it is seen.
#[derive(Debug)]
pub struct NewToken {
    /// What the client sends.
    pub token: String,
    /// What the tokens file keeps.
    pub line: String,
}

impl NewToken {
    /// A token of 256 random bits. The name is 1–64 of letters, digits, `.`, `_` and `-`.
    pub fn generate(name: &str, scope: Scope) -> Result<Self, String> {
        check_name(name)?;
        let token = format!("tm_{}", hex::encode(rand::random::<[u8; 32]>()));
        let line = format!("{name}:{scope}:{}", hex::encode(Sha256::digest(token.as_bytes())));
        Ok(Self { token, line })
    }
}

impl Tokens {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`TokensError::Read`] when it cannot be read, [`TokensError::Line`] for a line that is none.
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let stamp = stamp(path);
        let known = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            known: RwLock::new(Arc::new(known)),
            seen: Mutex::new(Seen { stamp, at: Instant::now() }),
        })
    }

    /// Who `presented` belongs to. Takes the same time for every token of a length.
    pub(crate) fn identify(&self, presented: &str) -> Option<Identity> {
        self.reload_if_changed();
        let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let known = Arc::clone(&self.known.read());
        let mut found = None;
        for token in known.iter() {
            if bool::from(token.hash.ct_eq(&hash)) {
                found = Some(Identity { name: Arc::clone(&token.name), scope: token.scope });
            }
        }
        found
    }

    fn reload_if_changed(&self) {
        let mut seen = self.seen.lock();
        if seen.at.elapsed() < POLL {
            return;
        }
        seen.at = Instant::now();
        let now = stamp(&self.path);
        if now == seen.stamp {
            return;
        }
        match read(&self.path) {
            Ok(known) => {
                tracing::info!(tokens = known.len(), "tokens file changed and was read again");
                *self.known.write() = Arc::new(known);
                seen.stamp = now;
            }
            Err(error) => {
                tracing::error!(error = %error, "tokens file changed but cannot be used; the tokens known before stay");
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len()))
}

fn read(path: &Path) -> Result<Vec<Token>, TokensError> {
    let text = std::fs::read_to_string(path).map_err(|source| TokensError::Read { path: path.to_owned(), source })?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, text)| parse(text).map_err(|rule| TokensError::Line { path: path.to_owned(), line, rule }))
        .collect()
}

fn parse(line: &str) -> Result<Token, String> {
    let mut parts = line.split(':');
    let (Some(name), Some(scope), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("must be `name:scope:sha256-of-token`".to_owned());
    };
    check_name(name)?;
    let scope = scope.parse().map_err(|_| "the scope must be `read`, `run`, `write` or `admin`".to_owned())?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash, &mut bytes).map_err(|_| "the hash must be 64 hex digits".to_owned())?;
    Ok(Token { name: name.into(), scope, hash: bytes })
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if fits { Ok(()) } else { Err("the name must be 1 to 64 of letters, digits, `.`, `_` and `-`".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens_of(text: &str) -> (tempfile::TempDir, Result<Tokens, TokensError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, text).unwrap();
        let tokens = Tokens::load(&path);
        (folder, tokens)
    }

    #[test]
    fn a_made_token_is_known_by_its_line_and_no_other_is() {
        let made = NewToken::generate("ci", Scope::Run).unwrap();
        let (_folder, tokens) = tokens_of(&format!("# tokens\n\n{}\n", made.line));
        let tokens = tokens.unwrap();
        let identity = tokens.identify(&made.token).unwrap();
        assert_eq!((&*identity.name, identity.scope), ("ci", Scope::Run));
        assert!(tokens.identify("tm_0").is_none());
        assert!(tokens.identify("").is_none());
        let hash = made.line.rsplit(':').next().unwrap();
        assert!(tokens.identify(hash).is_none(), "the stored hash must not open anything");
    }

    #[test]
    fn a_bad_line_is_named_without_being_quoted() {
        let check = |text: &str, line: usize, rule: &str| {
            let (_folder, tokens) = tokens_of(text);
            let message = tokens.unwrap_err().to_string();
            assert!(message.contains(&format!("line {line} ")) && message.contains(rule), "{text:?}: {message}");
            assert!(!message.contains("s3cret"), "{message}");
        };
        check("s3cret", 1, "name:scope:sha256");
        check("\nci:root:00", 2, "scope");
        check("ci:read:s3cret", 1, "64 hex digits");
        check("c i:read:00", 1, "name");
        check("a:read:b:c", 1, "name:scope:sha256");
    }

    #[test]
    fn scopes_include_those_below() {
        assert!(Scope::Admin > Scope::Write && Scope::Write > Scope::Run && Scope::Run > Scope::Read);
    }
}
