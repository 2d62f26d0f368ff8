//! NATS' client protocol: lines of text, some of them with a payload behind.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::value::Value;

/// Most bytes of a line. `INFO` lists the servers of a cluster.
const LINE_LIMIT: usize = 1 << 20;
/// Most bytes of a message; servers allow 64 MiB at most.
const PAYLOAD_LIMIT: usize = 64 << 20;
/// How a block of headers begins.
const VERSION: &str = "NATS/1.0";

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// What it is and wants, as JSON.
    Info(ByteString),
    Message(Box<Delivery>),
    Ping,
    Pong,
    Ok,
    /// An error, without the quotes around it.
    Error(String),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions) struct Delivery {
    pub(in crate::actions) subject: ByteString,
    pub(in crate::actions) reply_to: Option<ByteString>,
    /// What stands behind the version in the first line of the headers: `503` when nobody answers requests.
    pub(in crate::actions) status: Option<ByteString>,
    pub(in crate::actions) headers: Vec<(ByteString, ByteString)>,
    pub(in crate::actions) payload: Bytes,
}

/// Takes the next thing said from the front of `input`; none when it is not all there yet.
pub(super) fn take(input: &mut BytesMut) -> Result<Option<Said>, String> {
    let Some(end) = memchr::memmem::find(input, b"\r\n") else {
        return if input.len() > LINE_LIMIT { Err("a line without end".to_owned()) } else { Ok(None) };
    };
    let line = std::str::from_utf8(&input[..end]).map_err(|_| "a line that is no text".to_owned())?;
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let said = match word.to_ascii_uppercase().as_str() {
        "INFO" => Said::Info(rest.trim().into()),
        "PING" => Said::Ping,
        "PONG" => Said::Pong,
        "+OK" => Said::Ok,
        "-ERR" => Said::Error(rest.trim().trim_matches('\'').to_owned()),
        "MSG" | "HMSG" => {
            let head = Head::read(word.eq_ignore_ascii_case("HMSG"), rest)?;
            let whole = end + 2 + head.length + 2;
            if input.len() < whole {
                return Ok(None);
            }
            let mut message = input.split_to(whole).freeze();
            message.advance(end + 2);
            return head.message(&message.slice(..head.length)).map(|message| Some(Said::Message(Box::new(message))));
        }
        word => return Err(format!("`{}`", word.chars().take(20).collect::<String>())),
    };
    input.advance(end + 2);
    Ok(Some(said))
}

/// The line before a message.
struct Head {
    subject: ByteString,
    reply_to: Option<ByteString>,
    /// Bytes of the headers; 0 when there are none.
    headers: usize,
    /// Bytes of headers and payload.
    length: usize,
}

impl Head {
    /// `subject sid [reply-to] [#header bytes] #total bytes`
    fn read(with_headers: bool, line: &str) -> Result<Self, String> {
        let wrong = || format!("a message that begins with `{}`", line.chars().take(80).collect::<String>());
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (names, lengths) =
            words.split_at_checked(words.len().wrapping_sub(1 + usize::from(with_headers))).ok_or_else(wrong)?;
        let (subject, reply_to) = match names {
            [subject, _sid] => (subject, None),
            [subject, _sid, reply_to] => (subject, Some(ByteString::from(*reply_to))),
            _ => return Err(wrong()),
        };
        let lengths: Vec<usize> = lengths.iter().map_while(|length| length.parse().ok()).collect();
        let (headers, length) = match *lengths {
            [length] if !with_headers => (0, length),
            [headers, length] if with_headers && headers <= length => (headers, length),
            _ => return Err(wrong()),
        };
        if length > PAYLOAD_LIMIT {
            return Err(format!("a message of {length} bytes"));
        }
        Ok(Self { subject: (*subject).into(), reply_to, headers, length })
    }

    fn message(&self, bytes: &Bytes) -> Result<Delivery, String> {
        let head = std::str::from_utf8(&bytes[..self.headers]).map_err(|_| "headers that are no text".to_owned())?;
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let status = match lines.next().map(|first| first.strip_prefix(VERSION)) {
            None => None,
            Some(Some(status)) => Some(status.trim().into()).filter(|status: &ByteString| !status.is_empty()),
            Some(None) => return Err("headers of another version".to_owned()),
        };
        let header = |line: &str| line.split_once(':').map(|(name, value)| (name.trim().into(), value.trim().into()));
        Ok(Delivery {
            subject: self.subject.clone(),
            reply_to: self.reply_to.clone(),
            status,
            headers: lines.filter_map(header).collect(),
            payload: bytes.slice(self.headers..),
        })
    }
}

/// A message to be sent.
pub(in crate::actions) struct Outgoing {
    pub(in crate::actions) subject: ByteString,
    pub(in crate::actions) reply_to: Option<ByteString>,
    /// Names and values, checked by [`header`].
    pub(in crate::actions) headers: Vec<(ByteString, ByteString)>,
    pub(in crate::actions) payload: Bytes,
}

impl Outgoing {
    /// How many bytes the server counts.
    pub(super) fn length(&self) -> usize {
        self.header_block().len() + self.payload.len()
    }

    fn header_block(&self) -> String {
        if self.headers.is_empty() {
            return String::new();
        }
        let mut block = format!("{VERSION}\r\n");
        for part in self.headers.iter().flat_map(|(name, value)| [&**name, ": ", &**value, "\r\n"]) {
            block.push_str(part);
        }
        block + "\r\n"
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        let block = self.header_block();
        let (word, lengths) = match block.len() {
            0 => ("PUB", self.payload.len().to_string()),
            headers => ("HPUB", format!("{headers} {}", headers + self.payload.len())),
        };
        let reply_to = self.reply_to.as_deref().map(|subject| format!(" {subject}")).unwrap_or_default();
        out.put_slice(format!("{word} {}{reply_to} {lengths}\r\n", self.subject).as_bytes());
        out.put_slice(block.as_bytes());
        out.put_slice(&self.payload);
        out.put_slice(b"\r\n");
    }
}

/// Whether a text is a subject; with wildcards (`*`, `>`) it is one for subscriptions alone.
pub(super) fn is_subject(text: &str, wildcards: bool) -> bool {
    let has_wildcard = text.split('.').any(|token| matches!(token, "*" | ">"));
    !text.is_empty()
        && !text.contains(|next: char| next.is_ascii_whitespace() || next.is_control())
        && text.split('.').all(|token| !token.is_empty())
        && (wildcards || !has_wildcard)
}

/// A header that fits on a line.
pub(super) fn header(name: &ByteString, value: &Value) -> Option<(ByteString, ByteString)> {
    let value = value.to_text().unwrap_or_default();
    let fits = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
        && !value.contains(['\r', '\n']);
    fits.then(|| (name.clone(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<Said>, String> {
        let mut input = BytesMut::from(text);
        let mut said = Vec::new();
        while let Some(next) = take(&mut input)? {
            said.push(next);
        }
        Ok(said)
    }

    #[test]
    fn what_a_server_says_is_taken_apart_wherever_it_is_cut() {
        let text: &[u8] = b"INFO {\"max_payload\":10} \r\nPING\r\n+OK\r\n-ERR 'Authorization Violation'\r\n\
            MSG a.b 1 5\r\nhe\r\no\r\nMSG a 7 _INBOX.x 0\r\n\r\nHMSG a 1 reply 29 32\r\nNATS/1.0 503\r\nA: b c\r\nD:e\r\n\r\nxyz\r\npong\r\n";
        let whole = all(text).unwrap();
        assert_eq!(whole.len(), 8, "{whole:?}");
        assert_eq!(whole[0], Said::Info("{\"max_payload\":10}".into()));
        assert_eq!(whole[3], Said::Error("Authorization Violation".to_owned()));
        let Said::Message(message) = &whole[4] else { panic!("{:?}", whole[4]) };
        assert_eq!((&*message.subject, &message.payload[..]), ("a.b", &b"he\r\no"[..]));
        let Said::Message(message) = &whole[6] else { panic!("{:?}", whole[6]) };
        assert_eq!(message.status.as_deref(), Some("503"));
        assert_eq!(message.headers, [("A".into(), "b c".into()), ("D".into(), "e".into())]);
        assert_eq!((message.reply_to.as_deref(), &message.payload[..]), (Some("reply"), &b"xyz"[..]));
        for cut in 0..text.len() {
            let mut input = BytesMut::from(&text[..cut]);
            let mut said = Vec::new();
            while let Some(next) = take(&mut input).unwrap() {
                said.push(next);
            }
            input.extend_from_slice(&text[cut..]);
            while let Some(next) = take(&mut input).unwrap() {
                said.push(next);
            }
            assert_eq!(said, whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_nats_is_an_error() {
        for text in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\xff\r\n",
            b"MSG a\r\n",
            b"MSG\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 99999999999\r\n",
            b"HMSG a 1 9 3\r\nabc\r\n",
            b"HMSG a 1 3 3\r\nabc\r\n",
        ] {
            assert!(all(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_message_is_written_with_its_lengths() {
        let mut message =
            Outgoing { subject: "a".into(), reply_to: None, headers: Vec::new(), payload: Bytes::from_static(b"hi") };
        let written = |message: &Outgoing| {
            let mut out = BytesMut::new();
            message.write(&mut out);
            String::from_utf8(out.to_vec()).unwrap()
        };
        assert_eq!(written(&message), "PUB a 2\r\nhi\r\n");
        message.reply_to = Some("r".into());
        message.headers.push(("K".into(), "v".into()));
        assert_eq!(written(&message), "HPUB a r 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nhi\r\n");
        assert_eq!(message.length(), 20);
    }

    #[test]
    fn subjects_have_tokens_and_wildcards_only_for_subscriptions() {
        for (subject, publish, subscribe) in [
            ("orders.created", true, true),
            ("orders.*", false, true),
            ("orders.>", false, true),
            ("a*b", true, true),
            ("", false, false),
            ("a b", false, false),
            ("a..b", false, false),
            ("a\r\nPING", false, false),
        ] {
            assert_eq!((is_subject(subject, false), is_subject(subject, true)), (publish, subscribe), "{subject:?}");
        }
    }
}
