//! A mail server of a run's own, which takes whatever comes and keeps it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use testmesh_shared::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Most bytes of a command, and of a line of a mail that is not its end.
const LINE_LIMIT: usize = 8 << 10;
/// Most bytes of a mail.
pub(in crate::actions) const MAIL_LIMIT: usize = 10 << 20;
/// Most mails of a catcher, and most bytes of all of them.
const MOST_MAILS: usize = 1_000;
const MOST_BYTES: usize = 100 << 20;
/// Most clients at a time; more wait.
const MOST_CLIENTS: usize = 64;
/// Most recipients of a mail.
const MOST_RECIPIENTS: usize = 100;
/// How long a client may be silent.
const SILENCE: Duration = Duration::from_mins(1);

/// A mail that was caught.
#[derive(Debug)]
pub(in crate::actions) struct Mail {
    /// The sender and the recipients of the envelope.
    pub(super) sender: String,
    pub(super) recipients: Vec<String>,
    pub(super) received: DateTime<Utc>,
    pub(super) message: Bytes,
}

/// What was caught so far.
#[derive(Debug, Default)]
pub(in crate::actions) struct Inbox {
    mails: Mutex<Vec<Arc<Mail>>>,
    came: Notify,
}

impl Inbox {
    /// The mail with this number, from 0; waits until it is there.
    pub(in crate::actions) async fn mail(&self, number: usize) -> Arc<Mail> {
        loop {
            let came = self.came.notified();
            tokio::pin!(came);
            // Before the look, so that none is missed in between.
            came.as_mut().enable();
            if let Some(mail) = self.mails.lock().get(number) {
                return Arc::clone(mail);
            }
            came.await;
        }
    }

    /// How many came so far: the number of the next.
    pub(in crate::actions) fn count(&self) -> usize {
        self.mails.lock().len()
    }

    /// Whether there was room.
    fn put(&self, mail: Mail) -> bool {
        {
            let mut mails = self.mails.lock();
            let bytes: usize = mails.iter().map(|mail| mail.message.len()).sum();
            if mails.len() >= MOST_MAILS || bytes + mail.message.len() > MOST_BYTES {
                return false;
            }
            mails.push(Arc::new(mail));
        }
        self.came.notify_waiters();
        true
    }
}

/// A running catcher. Dropping it closes its port and all connections.
#[derive(Debug)]
pub(in crate::actions) struct Catcher {
    /// Where it is reached: `smtp://127.0.0.1:2525`.
    pub(in crate::actions) url: String,
    pub(in crate::actions) inbox: Arc<Inbox>,
    _tasks: JoinSet<()>,
}

impl Catcher {
    /// Takes what comes to `listener`.
    pub(in crate::actions) fn start(listener: TcpListener, url: String, clock: Arc<dyn Clock>) -> Self {
        let inbox = Arc::new(Inbox::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&inbox), clock));
        Self { url, inbox, _tasks: tasks }
    }
}

async fn accept(listener: TcpListener, inbox: Arc<Inbox>, clock: Arc<dyn Clock>) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            // Cancel-safe per docs on `accept()`.
            accepted = listener.accept(), if clients.len() < MOST_CLIENTS => match accepted {
                Ok((stream, _)) => {
                    let (inbox, clock) = (Arc::clone(&inbox), Arc::clone(&clock));
                    clients.spawn(async move {
                        // A client that breaks off has sent no mail.
                        let _ = Session::new(stream, inbox, clock).run().await;
                    });
                }
                // Out of file handles, as a rule: they come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            // Cancel-safe per docs on `join_next()`.
            Some(_) = clients.join_next() => {}
        }
    }
}

/// A mail of which the message is still to come.
#[derive(Default)]
struct Draft {
    sender: Option<String>,
    recipients: Vec<String>,
}

/// One client.
struct Session {
    stream: TcpStream,
    input: BytesMut,
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
    draft: Draft,
}

impl Session {
    fn new(stream: TcpStream, inbox: Arc<Inbox>, clock: Arc<dyn Clock>) -> Self {
        Self { stream, input: BytesMut::new(), inbox, clock, draft: Draft::default() }
    }

    async fn run(mut self) -> io::Result<()> {
        self.say("220 testmesh takes all mail").await?;
        while let Some(line) = self.line().await? {
            let line = String::from_utf8_lossy(&line).into_owned();
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => {
                    let offers = format!(
                        "250-testmesh\r\n250-SIZE {MAIL_LIMIT}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN"
                    );
                    self.say(&offers).await?;
                }
                "HELO" => self.say("250 testmesh").await?,
                "AUTH" => self.authenticate(rest).await?,
                "MAIL" => {
                    let sender = path(rest, "FROM:");
                    let reply = if sender.is_some() { "250 ok" } else { "501 MAIL FROM:<address>" };
                    self.draft = Draft { sender, recipients: Vec::new() };
                    self.say(reply).await?;
                }
                "RCPT" => {
                    let reply = self.recipient(path(rest, "TO:"));
                    self.say(reply).await?;
                }
                "DATA" => self.data().await?,
                "RSET" => {
                    self.draft = Draft::default();
                    self.say("250 ok").await?;
                }
                "NOOP" => self.say("250 ok").await?,
                "VRFY" => self.say("252 all are taken").await?,
                "QUIT" => return self.say("221 bye").await,
                _ => self.say("500 unknown").await?,
            }
        }
        Ok(())
    }

    fn recipient(&mut self, address: Option<String>) -> &'static str {
        match address {
            _ if self.draft.sender.is_none() => "503 MAIL first",
            None => "501 RCPT TO:<address>",
            Some(_) if self.draft.recipients.len() >= MOST_RECIPIENTS => "452 too many recipients",
            Some(address) => {
                self.draft.recipients.push(address);
                "250 ok"
            }
        }
    }

    /// Whoever it is may send.
    async fn authenticate(&mut self, rest: &str) -> io::Result<()> {
        let (way, first) = rest.split_once(' ').unwrap_or((rest, ""));
        let questions: &[&str] = match (way.to_ascii_uppercase().as_str(), first) {
            ("PLAIN", "") => &[""],
            ("PLAIN", _) => &[],
            ("LOGIN", "") => &["VXNlcm5hbWU6", "UGFzc3dvcmQ6"],
            ("LOGIN", _) => &["UGFzc3dvcmQ6"],
            _ => return self.say("504 unknown").await,
        };
        for question in questions {
            self.say(&format!("334 {question}")).await?;
            if self.line().await?.is_none() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.say("235 ok").await
    }

    async fn data(&mut self) -> io::Result<()> {
        let draft = std::mem::take(&mut self.draft);
        let (Some(sender), false) = (draft.sender, draft.recipients.is_empty()) else {
            return self.say("503 MAIL and RCPT first").await;
        };
        self.say("354 end with a dot alone").await?;
        let Some(message) = self.message().await? else {
            return self.say("552 the mail is too large").await;
        };
        let mail = Mail { sender, recipients: draft.recipients, received: self.clock.now(), message: message.into() };
        let reply = if self.inbox.put(mail) { "250 caught" } else { "452 there is no more room" };
        self.say(reply).await
    }

    /// Reads a message to its end; none when it was too large.
    async fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        let mut too_large = false;
        loop {
            let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if &line[..] == b"." {
                return Ok((!too_large).then_some(message));
            }
            let text = line.strip_prefix(b".").unwrap_or(&line);
            too_large |= message.len() + text.len() + 2 > MAIL_LIMIT;
            if !too_large {
                message.extend_from_slice(text);
                message.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A line without its end; none when the client hung up. A line that is too long is an error.
    async fn line(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                let line = self.input.split_to(end).freeze();
                self.input.advance(1);
                return Ok(Some(line.strip_suffix(b"\r").map_or(line.clone(), |text| line.slice_ref(text))));
            }
            if self.input.len() > LINE_LIMIT {
                self.say("500 the line is too long").await?;
                return Err(io::ErrorKind::InvalidData.into());
            }
            let read = self.stream.read_buf(&mut self.input);
            let read = tokio::time::timeout(SILENCE, read).await.map_err(|_| io::ErrorKind::TimedOut)?;
            if read? == 0 {
                return Ok(None);
            }
        }
    }

    async fn say(&mut self, reply: &str) -> io::Result<()> {
        let saying = async {
            self.stream.write_all(reply.as_bytes()).await?;
            self.stream.write_all(b"\r\n").await
        };
        tokio::time::timeout(SILENCE, saying).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

/// The address of `FROM:<a@b> SIZE=1` or `TO:<a@b>`.
fn path(rest: &str, name: &str) -> Option<String> {
    let found = rest.trim_start().get(..name.len()).filter(|found| found.eq_ignore_ascii_case(name))?;
    let rest = rest.trim_start()[found.len()..].trim_start();
    match rest.strip_prefix('<') {
        Some(inner) => inner.split_once('>').map(|(address, _)| address.to_owned()),
        None => rest.split_ascii_whitespace().next().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_however_they_are_written() {
        for (rest, found) in [
            ("FROM:<a@b.c> SIZE=10", Some("a@b.c")),
            ("from: <a@b.c>", Some("a@b.c")),
            ("FROM:a@b.c", Some("a@b.c")),
            ("FROM:<>", Some("")),
            ("FROM:<a@b.c", None),
            ("FROM:", None),
            ("TO:<a@b.c>", None),
            ("ü", None),
        ] {
            assert_eq!(path(rest, "FROM:").as_deref(), found, "{rest}");
        }
    }
}
