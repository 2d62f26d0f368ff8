//! Finds what parses but is not wise: secrets in the file, SQL glued together, a Kafka consumer without a match.

use super::reader::{Decoder, Section};
use super::step::Known;
use super::yaml::{Entry, Node, NodeKind};
use crate::diagnostic::Code;
use crate::template::{Template, may_refer};

/// Keys whose values are secrets.
const SECRET_KEYS: &[&str] =
    &["password", "passwd", "secret", "token", "api_key", "apikey", "access_key", "private_key", "credential"];
/// How well-known tokens begin, and how long they are at least.
const TOKEN_SHAPES: &[(&str, usize)] = &[
    ("ghp_", 36),
    ("gho_", 36),
    ("ghs_", 36),
    ("github_pat_", 40),
    ("glpat-", 20),
    ("sk_live_", 20),
    ("rk_live_", 20),
    ("xoxb-", 24),
    ("xoxp-", 24),
    ("AKIA", 20),
    ("AIza", 35),
    ("-----BEGIN", 20),
];
/// Actions that take SQL.
const SQL_ACTIONS: &[&str] = &["database_query", "sql", "db_poll"];
/// Actions that read from Kafka.
const KAFKA_CONSUMERS: &[&str] = &["kafka_consumer", "kafka_consume", "kafka.consume"];

impl<'t> Decoder<'t, '_> {
    /// Reports secrets among the entries of a configuration, at any depth.
    pub(crate) fn secrets_in(&mut self, entries: &[Entry<'t>]) {
        for entry in entries {
            self.secrets_below(&entry.key, &entry.value);
        }
    }

    fn secrets_below(&mut self, key: &str, node: &Node<'t>) {
        match &node.kind {
            NodeKind::Scalar(_) => self.secret(key, node),
            NodeKind::List(items) => items.iter().for_each(|item| self.secrets_below(key, item)),
            NodeKind::Map(entries) => self.secrets_in(entries),
        }
    }

    /// Reports a value that looks like a secret.
    pub(crate) fn secret(&mut self, key: &str, node: &Node<'t>) {
        let Some(text) = node.text().filter(|text| !may_refer(text)) else { return };
        if looks_like_secret(key, text) {
            let message = format!("the value of `{key}` looks like a secret written into the file");
            let help = "keep it in an environment and write `${secrets.NAME}`, or `${NAME}` with `env_file`".to_owned();
            self.findings.warning(Code::SecretInFile, node.span, message).help(help);
        }
    }

    /// Reports what is unwise in the configuration of particular actions.
    pub(crate) fn findings_of_action(&mut self, step: &Section<'_, 't>, known: Known<'_>) {
        let name = match known {
            Known::Here(spec) => spec.name,
            Known::Not(name) => name,
        };
        let Some(config) = step.entry("config") else { return };
        if SQL_ACTIONS.contains(&name) {
            for key in ["query", "statement", "sql"] {
                if let Some(query) = config.value.get(key) {
                    self.spliced(query);
                }
            }
        }
        if KAFKA_CONSUMERS.contains(&name) {
            self.matches_anything(config);
        }
    }

    fn spliced(&mut self, query: &Node<'t>) {
        let Some(Ok(template)) = query.text().map(Template::parse) else { return };
        for reference in template.references() {
            // Names in capitals come from the environment: schemas and tables, which no parameter can stand for.
            let fixed = matches!(reference.root.as_str(), "env" | "vars" | "secrets")
                || !reference.root.chars().any(char::is_lowercase);
            if !fixed {
                let span = super::offsets::locate(&self.findings.source, query, reference.start, reference.end);
                let message = format!("`{}` is inserted into the text of the query", reference.root);
                let help = "use a parameter: write `$1` in the query and give the value in `params`".to_owned();
                self.findings.warning(Code::SqlSpliced, span, message).help(help);
            }
        }
    }

    fn matches_anything(&mut self, config: &Entry<'t>) {
        let beginning = config.value.entries().unwrap_or_default().iter().find(|entry| {
            (entry.key == "from_beginning" && entry.value.text() == Some("true"))
                || (entry.key == "auto_offset_reset" && entry.value.text() == Some("earliest"))
        });
        let matches = config.value.get("match").is_some_and(|node| !node.is_null());
        if let Some(entry) = beginning.filter(|_| !matches) {
            let message = "the consumer reads from the beginning and takes any message, also of earlier runs";
            let help =
                "add `match:` with what tells your message apart, or leave out reading from the beginning".to_owned();
            self.findings.warning(Code::KafkaNoMatch, entry.key_span, message).help(help);
        }
    }
}

/// Whether the value of a key looks like a secret that a machine made: a well-known kind of token whatever the key is
/// called, or at least 20 mixed letters and digits where the key is called like one.
pub fn looks_like_secret(key: &str, value: &str) -> bool {
    // Shorter than every token, and than what looks random.
    if value.len() < 20 {
        return false;
    }
    let value = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("Basic ")).unwrap_or(value).trim();
    known_token(value) || (random(value) && secret_key(key))
}

fn secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    SECRET_KEYS.iter().any(|word| key.contains(word)) || key == "authorization"
}

fn known_token(text: &str) -> bool {
    let shaped = TOKEN_SHAPES.iter().any(|(prefix, length)| text.starts_with(prefix) && text.len() >= *length);
    let jwt = text.starts_with("eyJ") && text.split('.').count() == 3 && text.len() > 60;
    shaped || jwt
}

/// Whether a text is long and mixed like something a machine made, unlike the passwords of examples.
fn random(text: &str) -> bool {
    let classes = [
        text.bytes().any(|byte| byte.is_ascii_lowercase()),
        text.bytes().any(|byte| byte.is_ascii_uppercase()),
        text.bytes().any(|byte| byte.is_ascii_digit()),
    ];
    let mixed = classes.iter().filter(|class| **class).count() >= 2 && classes[2];
    text.len() >= 20 && !text.contains("://") && !text.contains(char::is_whitespace) && mixed && entropy(text) > 3.5
}

/// Shannon entropy in bits for each byte.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let total = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}
