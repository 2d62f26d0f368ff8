//! SMTP as a client speaks it (RFC 5321), with STARTTLS (RFC 3207) and AUTH (RFC 4954).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, BytesMut};
use testmesh_shared::net::Connector;
use testmesh_shared::tls::TlsClient;

use crate::actions::peer::{Endpoint, PeerError, Wire};

/// Most bytes of one reply.
const REPLY_LIMIT: usize = 64 << 10;
/// Who we say we are.
const NAME: &str = "testmesh";

/// Whether a connection that began plain is made secure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::actions) enum StartTls {
    /// Where the server offers it.
    Auto,
    Always,
    Never,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::actions) struct Reply {
    pub(in crate::actions) code: u16,
    pub(in crate::actions) lines: Vec<String>,
}

impl Reply {
    /// In one line.
    pub(in crate::actions) fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" "))
    }

    fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }
}

/// What became of the recipients, and the reply to the message.
pub(in crate::actions) struct Delivered {
    pub(in crate::actions) accepted: Vec<String>,
    /// Each with the server's reply.
    pub(in crate::actions) rejected: Vec<(String, String)>,
    pub(in crate::actions) reply: String,
}

/// A mail on its way.
pub(in crate::actions) struct Envelope<'a> {
    pub(in crate::actions) from: &'a str,
    pub(in crate::actions) to: &'a [String],
    pub(in crate::actions) message: &'a [u8],
}

/// A connection to a server.
pub(in crate::actions) struct Client {
    wire: Wire,
    /// What the server offers: `SIZE 1000`, `STARTTLS` …
    offers: Vec<String>,
}

impl Client {
    /// Connects, makes the connection secure where that is wanted, and proves who sends.
    pub(in crate::actions) async fn connect(
        endpoint: &Endpoint,
        start_tls: StartTls,
        connector: &Connector,
        tls: &TlsClient,
    ) -> Result<Self, PeerError> {
        let socket = endpoint.open(connector, tls).await?;
        let mut client = Self { wire: Wire::new(socket), offers: Vec::new() };
        let greeting = client.reply().await?;
        if !greeting.is_positive() {
            return Err(PeerError::Broken(format!("it does not take mail: {}", greeting.text())));
        }
        client.hello().await?;
        let offered = client.offers("STARTTLS").is_some();
        if !endpoint.tls && start_tls != StartTls::Never && (offered || start_tls == StartTls::Always) {
            if !offered {
                return Err(PeerError::Refused("it does not offer STARTTLS".to_owned()));
            }
            client.expect("STARTTLS").await?;
            // What came before the handshake must not count as said behind it.
            client.wire = Wire::new(endpoint.secure(client.wire.socket, tls).await?);
            client.hello().await?;
        }
        if let Some(user) = &endpoint.username {
            let password = endpoint.password.as_deref().unwrap_or_default();
            client.authenticate(user, password).await?;
        }
        Ok(client)
    }

    /// The words behind an offer.
    fn offers(&self, what: &str) -> Option<&str> {
        self.offers.iter().find_map(|offer| {
            let (name, words) = offer.split_once([' ', '=']).unwrap_or((offer, ""));
            name.eq_ignore_ascii_case(what).then_some(words)
        })
    }

    async fn hello(&mut self) -> Result<(), PeerError> {
        let reply = self.say(&format!("EHLO {NAME}")).await?;
        if reply.is_positive() {
            self.offers = reply.lines.into_iter().skip(1).collect();
            return Ok(());
        }
        self.offers.clear();
        self.expect(&format!("HELO {NAME}")).await.map(drop)
    }

    async fn authenticate(&mut self, user: &str, password: &str) -> Result<(), PeerError> {
        let ways = self.offers("AUTH").unwrap_or_default().to_ascii_uppercase();
        let knows = |way: &str| ways.split_ascii_whitespace().any(|known| known == way);
        let reply = if knows("PLAIN") {
            let proof = STANDARD.encode(format!("\0{user}\0{password}"));
            self.say(&format!("AUTH PLAIN {proof}")).await?
        } else if knows("LOGIN") {
            let mut reply = self.say("AUTH LOGIN").await?;
            for text in [user, password] {
                if reply.code == 334 {
                    reply = self.say(&STANDARD.encode(text)).await?;
                }
            }
            reply
        } else {
            return Err(PeerError::Refused(format!("it offers neither AUTH PLAIN nor AUTH LOGIN, only `{ways}`")));
        };
        if reply.code == 235 { Ok(()) } else { Err(PeerError::Broken(reply.text())) }
    }

    /// Hands over a mail.
    pub(in crate::actions) async fn send(&mut self, mail: &Envelope<'_>) -> Result<Delivered, PeerError> {
        let is_ascii = mail.from.is_ascii() && mail.to.iter().all(|address| address.is_ascii());
        if !is_ascii && self.offers("SMTPUTF8").is_none() {
            return Err(PeerError::Refused("it takes no address with such letters (SMTPUTF8)".to_owned()));
        }
        let limit = self.offers("SIZE").and_then(|limit| limit.trim().parse::<usize>().ok()).filter(|limit| *limit > 0);
        if let Some(limit) = limit.filter(|limit| mail.message.len() > *limit) {
            let length = mail.message.len();
            return Err(PeerError::Refused(format!(
                "the mail has {length} bytes, and the server takes {limit} at most"
            )));
        }
        let more = if is_ascii { "" } else { " SMTPUTF8" };
        self.expect(&format!("MAIL FROM:<{}>{more}", mail.from)).await?;
        let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
        for address in mail.to {
            let reply = self.say(&format!("RCPT TO:<{address}>")).await?;
            if reply.is_positive() {
                accepted.push(address.clone());
            } else {
                rejected.push((address.clone(), reply.text()));
            }
        }
        if accepted.is_empty() {
            let first = rejected.first().map(|(address, reply)| format!("`{address}`: {reply}")).unwrap_or_default();
            return Err(PeerError::Refused(format!("no recipient is accepted: {first}")));
        }
        self.expect("DATA").await?;
        stuffed(mail.message, &mut self.wire.out);
        let reply = self.reply().await?;
        if !reply.is_positive() {
            return Err(PeerError::Refused(reply.text()));
        }
        Ok(Delivered { accepted, rejected, reply: reply.text() })
    }

    /// Says goodbye.
    pub(in crate::actions) async fn quit(mut self) {
        // The mail is on its way: nothing of this matters any more.
        let _ = self.say("QUIT").await;
    }

    async fn say(&mut self, line: &str) -> Result<Reply, PeerError> {
        self.wire.out.put_slice(line.as_bytes());
        self.wire.out.put_slice(b"\r\n");
        self.reply().await
    }

    async fn expect(&mut self, line: &str) -> Result<Reply, PeerError> {
        let reply = self.say(line).await?;
        if reply.is_positive() { Ok(reply) } else { Err(PeerError::Refused(reply.text())) }
    }

    async fn reply(&mut self) -> Result<Reply, PeerError> {
        loop {
            self.wire.flush().await?;
            match take(&mut self.wire.input) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => self.wire.fill().await?,
                Err(what) => return Err(PeerError::Broken(format!("it says {what}, which is not SMTP"))),
            }
        }
    }
}

/// Takes a reply, of one or several lines, from the front of `input`; none when it is not all there yet.
fn take(input: &mut BytesMut) -> Result<Option<Reply>, String> {
    let (mut lines, mut from) = (Vec::new(), 0);
    while let Some(length) = memchr::memchr(b'\n', &input[from..]) {
        let line = String::from_utf8_lossy(&input[from..from + length]);
        let line = line.trim_end_matches('\r');
        from += length + 1;
        let code = line.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
        let code = code.and_then(|code| code.parse().ok());
        let Some(code) = code else { return Err(format!("`{}`", line.chars().take(40).collect::<String>())) };
        let is_last = line.as_bytes().get(3) != Some(&b'-');
        lines.push(line.get(4..).unwrap_or_default().to_owned());
        if is_last {
            input.advance(from);
            return Ok(Some(Reply { code, lines }));
        }
    }
    if input.len() > REPLY_LIMIT { Err("a reply without end".to_owned()) } else { Ok(None) }
}

/// A message as it is sent: every line ends with CR and LF, none is a dot alone but the last.
fn stuffed(message: &[u8], out: &mut BytesMut) {
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").map_or(line, |text| text.strip_suffix(b"\r").unwrap_or(text));
        if text.first() == Some(&b'.') {
            out.put_u8(b'.');
        }
        out.put_slice(text);
        out.put_slice(b"\r\n");
    }
    out.put_slice(b".\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken_whole() {
        let mut input = BytesMut::from(&b"250-one\r\n250-SIZE 9\r\n250 STARTTLS\r\n354 go on\r\n5"[..]);
        let reply = take(&mut input).unwrap().unwrap();
        assert_eq!(
            (reply.code, reply.lines),
            (250, vec!["one".to_owned(), "SIZE 9".to_owned(), "STARTTLS".to_owned()])
        );
        assert_eq!(take(&mut input).unwrap().unwrap().text(), "354 go on");
        assert_eq!(take(&mut input).unwrap(), None);
        assert!(take(&mut BytesMut::from(&b"HTTP/1.1 400\r\n"[..])).is_err());
        assert!(take(&mut BytesMut::from(&b"\r\n"[..])).is_err());
        assert!(take(&mut BytesMut::from(&vec![b'2'; REPLY_LIMIT + 1][..])).is_err());
    }

    #[test]
    fn lines_that_begin_with_a_dot_are_kept_apart_from_the_end() {
        for (message, sent) in
            [("a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"), (".a\nb\n", "..a\r\nb\r\n.\r\n"), ("", ".\r\n")]
        {
            let mut out = BytesMut::new();
            stuffed(message.as_bytes(), &mut out);
            assert_eq!(out, sent.as_bytes(), "{message:?}");
        }
    }
}
