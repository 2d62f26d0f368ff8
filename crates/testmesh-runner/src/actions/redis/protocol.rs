//! Redis's protocol, versions 2 and 3: what is sent as bytes, and what the server says as values.

use std::fmt::Write as _;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

use crate::actions::messages::text;
use crate::value::Value;

/// Most bytes that one reply may have.
const REPLY_LIMIT: usize = 64 << 20;
/// Replies up to this size are copied out of the buffer that they came in, so that a value which a run keeps does not keep
/// that as well.
const SMALL: usize = 4 << 10;
/// Replies inside replies: no command of Redis comes near.
const DEEPEST: usize = 64;
/// What ends a line.
const END: &[u8] = b"\r\n";

/// Writes a command.
pub(super) fn put(words: &[Bytes], out: &mut BytesMut) {
    head(b'*', words.len(), out);
    for word in words {
        head(b'$', word.len(), out);
        out.extend_from_slice(word);
        out.extend_from_slice(END);
    }
}

fn head(kind: u8, count: usize, out: &mut BytesMut) {
    out.extend_from_slice(&[kind]);
    // A buffer that grows takes every text.
    let _ = write!(out, "{count}");
    out.extend_from_slice(END);
}

/// What the server says.
#[derive(Debug)]
pub(super) enum Said {
    /// The reply to the oldest command without one.
    Reply(Value),
    /// The same, when it is an error.
    Refused(Refusal),
    /// What it tells unasked (version 3), its kind first.
    Push(Vec<Value>),
}

/// An error of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `WRONGTYPE`, `ERR` …
    pub(super) code: ByteString,
    pub(super) message: ByteString,
}

/// How far the next reply has been looked at: what came is looked at once, in however many parts a reply comes.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Up to here.
    at: usize,
    /// How many values are missing yet; none: a reply begins here.
    missing: Option<usize>,
}

impl Scan {
    /// Takes the next reply out of `input`; none: it is not all there.
    ///
    /// # Errors
    /// What is wrong with what came. Nothing after it can be understood.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Said>, String> {
        let mut missing = self.missing.unwrap_or(1);
        while missing > 0 {
            self.missing = Some(missing);
            let Some((length, more)) = whole(&input[self.at..])? else { return Ok(None) };
            self.at += length;
            missing = (missing - 1).saturating_add(more);
            if self.at.saturating_add(missing) > REPLY_LIMIT {
                return Err(too_large());
            }
        }
        let bytes = if self.at > SMALL {
            input.split_to(self.at).freeze()
        } else {
            let bytes = Bytes::copy_from_slice(&input[..self.at]);
            input.advance(self.at);
            bytes
        };
        *self = Self::default();
        match (Reader { bytes, at: 0 }).said() {
            Ok(said) => Ok(Some(said)),
            Err(Unread::Refused(refusal)) => Ok(Some(Said::Refused(refusal))),
            Err(Unread::Garbage(what)) => Err(what),
        }
    }
}

fn too_large() -> String {
    format!("a reply of more than {} MiB", REPLY_LIMIT >> 20)
}

/// The bytes of the value at the start of `input`, without those inside of it, and how many those are; none: it is not
/// all there.
fn whole(input: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let Some(end) = input.windows(END.len()).position(|pair| pair == END) else {
        return if input.len() > REPLY_LIMIT { Err(too_large()) } else { Ok(None) };
    };
    let head = end + END.len();
    let count = || length(&input[1..end]).map(Option::unwrap_or_default);
    let (body, inside) = match input[0] {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => (0, 0),
        b'$' | b'!' | b'=' => (length(&input[1..end])?.map_or(0, |length| length.saturating_add(END.len())), 0),
        b'*' | b'~' | b'>' => (0, count()?),
        b'%' => (0, count()?.saturating_mul(2)),
        // What it is said about follows.
        b'|' => (0, count()?.saturating_mul(2).saturating_add(1)),
        _ => return Err(garbage(&input[..end])),
    };
    if body > REPLY_LIMIT {
        return Err(too_large());
    }
    Ok((input.len() >= head + body).then_some((head + body, inside)))
}

/// A length or number of items; none: there is no value (`-1`).
fn length(digits: &[u8]) -> Result<Option<usize>, String> {
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
    match number {
        Some(-1) => Ok(None),
        Some(number) => usize::try_from(number).map(Some).map_err(|_| garbage(digits)),
        None => Err(garbage(digits)),
    }
}

fn garbage(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    format!("a reply that is not Redis's: {shown:?}")
}

/// Why a reply is no value.
enum Unread {
    /// It is an error, or has one inside.
    Refused(Refusal),
    Garbage(String),
}

/// Reads a reply that is all there.
struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    fn said(mut self) -> Result<Said, Unread> {
        if self.bytes.first() == Some(&b'>') {
            let (_, line) = self.line();
            return self.items(&line, 0).map(Said::Push);
        }
        self.value(0).map(Said::Reply)
    }

    /// The kind of the next value and the rest of its line.
    fn line(&mut self) -> (u8, Bytes) {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(END.len()).position(|pair| pair == END).unwrap_or(rest.len());
        let line = self.bytes.slice(self.at..self.at + end);
        self.at = (self.at + end + END.len()).min(self.bytes.len());
        (line.first().copied().unwrap_or_default(), line.slice(line.len().min(1)..))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Unread> {
        if depth > DEEPEST {
            return Err(Unread::Garbage(format!("a reply that lies deeper than {DEEPEST} lists")));
        }
        let (kind, line) = self.line();
        let wrong = || Unread::Garbage(garbage(&line));
        let word = || std::str::from_utf8(&line).map_err(|_| wrong());
        Ok(match kind {
            b'+' | b'(' => text(line),
            b'-' => return Err(refusal(&line)),
            b':' => Value::Int(word()?.parse().map_err(|_| wrong())?),
            b',' => Value::Float(word()?.parse().map_err(|_| wrong())?),
            b'#' => Value::Bool(&line[..] == b"t"),
            b'_' => Value::Null,
            b'$' => self.body(&line)?.map_or(Value::Null, text),
            // The three letters before the colon say what kind of text it is.
            b'=' => self.body(&line)?.map_or(Value::Null, |body| text(body.slice(body.len().min(4)..))),
            b'!' => return Err(refusal(&self.body(&line)?.unwrap_or_default())),
            b'*' if &line[..] == b"-1" => Value::Null,
            b'*' | b'~' | b'>' => Value::list(self.items(&line, depth)?),
            b'%' => Value::map(self.pairs(&line, depth)?),
            b'|' => {
                self.pairs(&line, depth)?;
                self.value(depth + 1)?
            }
            _ => return Err(wrong()),
        })
    }

    fn body(&mut self, line: &[u8]) -> Result<Option<Bytes>, Unread> {
        let Some(length) = length(line).map_err(Unread::Garbage)? else { return Ok(None) };
        let end = (self.at + length).min(self.bytes.len());
        let body = self.bytes.slice(self.at..end);
        self.at = (end + END.len()).min(self.bytes.len());
        Ok(Some(body))
    }

    fn items(&mut self, line: &[u8], depth: usize) -> Result<Vec<Value>, Unread> {
        let count = length(line).map_err(Unread::Garbage)?.unwrap_or_default();
        (0..count).map(|_| self.value(depth + 1)).collect()
    }

    fn pairs(&mut self, line: &[u8], depth: usize) -> Result<Vec<(ByteString, Value)>, Unread> {
        let count = length(line).map_err(Unread::Garbage)?.unwrap_or_default();
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name = self.value(depth + 1)?.to_text().unwrap_or_default();
            pairs.push((name, self.value(depth + 1)?));
        }
        Ok(pairs)
    }
}

/// `WRONGTYPE Operation against …`
fn refusal(line: &[u8]) -> Unread {
    let line = String::from_utf8_lossy(line);
    let (code, message) = line.split_once(' ').unwrap_or((&line, ""));
    Unread::Refused(Refusal { code: code.into(), message: message.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn shown(said: Said) -> Json {
        match said {
            Said::Reply(value) => value.to_json(),
            Said::Refused(refusal) => json!({"code": &*refusal.code, "message": &*refusal.message}),
            Said::Push(items) => json!({"push": Value::list(items).to_json()}),
        }
    }

    /// What is understood when the bytes come one by one, of each reply.
    fn read(bytes: &str) -> Result<Vec<Json>, String> {
        let (mut input, mut scan, mut said) = (BytesMut::new(), Scan::default(), Vec::new());
        for byte in bytes.bytes() {
            input.extend_from_slice(&[byte]);
            said.extend(scan.take(&mut input)?.map(shown));
        }
        assert!(input.is_empty(), "{input:?} is left of {bytes:?}");
        Ok(said)
    }

    #[test]
    fn replies_are_read_in_however_many_parts_they_come() {
        for (bytes, expected) in [
            ("+OK\r\n:-7\r\n$3\r\na\nb\r\n", json!(["OK", -7, "a\nb"])),
            ("$-1\r\n*-1\r\n_\r\n$0\r\n\r\n*0\r\n", json!([null, null, null, "", []])),
            ("*2\r\n$1\r\na\r\n*1\r\n:1\r\n", json!([["a", [1]]])),
            ("%2\r\n$1\r\na\r\n:1\r\n:2\r\n%0\r\n", json!([{"a": 1, "2": {}}])),
            ("~1\r\n#t\r\n#f\r\n,1.5\r\n,1e3\r\n", json!([[true], false, 1.5, 1000.0])),
            ("(123456789012345678901\r\n=8\r\ntxt:a\r\nb\r\n", json!(["123456789012345678901", "a\r\nb"])),
            ("|1\r\n+ttl\r\n:9\r\n*1\r\n+a\r\n", json!([["a"]])),
            (">3\r\n+message\r\n$1\r\nc\r\n$2\r\nhi\r\n+OK\r\n", json!([{"push": ["message", "c", "hi"]}, "OK"])),
            ("-WRONGTYPE not a list\r\n", json!([{"code": "WRONGTYPE", "message": "not a list"}])),
            (
                "!10\r\nERR broken\r\n-LOADING\r\n",
                json!([{"code": "ERR", "message": "broken"}, {"code": "LOADING", "message": ""}]),
            ),
            ("*2\r\n:1\r\n-ERR inside\r\n+OK\r\n", json!([{"code": "ERR", "message": "inside"}, "OK"])),
        ] {
            assert_eq!(read(bytes).map(Json::Array), Ok(expected), "{bytes:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_bytes() {
        let mut input = BytesMut::from(&b"$2\r\n\xff\x00\r\n"[..]);
        let Ok(Some(Said::Reply(Value::Bytes(bytes)))) = Scan::default().take(&mut input) else { panic!("{input:?}") };
        assert_eq!(&bytes[..], b"\xff\x00");
    }

    #[test]
    fn what_is_not_redis_is_told() {
        let deep = "*1\r\n".repeat(70) + ":1\r\n";
        for (bytes, expected) in [
            ("HTTP/1.1 400 Bad Request\r\n", "not Redis's: \"HTTP/1.1 400"),
            ("$x\r\n", "not Redis's: \"x\""),
            (":one\r\n", "not Redis's: \"one\""),
            ("*-2\r\n", "not Redis's: \"-2\""),
            ("$99999999999\r\n", "more than 64 MiB"),
            ("*9999999999\r\n", "more than 64 MiB"),
            (&deep, "deeper than 64"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(expected), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn commands_are_written_with_their_lengths() {
        let mut out = BytesMut::new();
        put(&["SET".into(), "ä".into(), "".into()], &mut out);
        assert_eq!(&out[..], "*3\r\n$3\r\nSET\r\n$2\r\nä\r\n$0\r\n\r\n".as_bytes());
    }
}
