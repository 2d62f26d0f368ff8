//! `mail_send`: hands a mail to a mail server.

use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;

use super::http_request::file_error;
use super::mail::smtp::{Client, Envelope, StartTls};
use super::messages;
use super::peer::{self, Endpoint, Links, Protocol, optional, within};
use super::tls;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, Resolved, entries};
use crate::record::ErrorKind;
use crate::value::Value;

const PROTOCOL: Protocol =
    Protocol { plain: &["smtp"], secure: &["smtps"], port: 25, secure_port: 465, upgrades: true };
/// Most bytes of an attachment that is a file.
const FILE_LIMIT: u64 = 20 << 20;

const ATTACHMENT: Kind = Kind::Object(&[
    optional("path", &["file"], Kind::Text, "A file that flows may read."),
    optional(
        "content",
        &["data", "body"],
        Kind::Any,
        "What is in it, instead of a file: text, bytes, or a map or list as JSON.",
    ),
    Field {
        default: Some("the file's"),
        ..optional("filename", &["name"], Kind::Text, "The name that the mail gives it.")
    },
    Field { default: Some("by the name"), ..optional("content_type", &["type"], Kind::Text, "What it is.") },
]);

static SPEC: ActionSpec = ActionSpec {
    name: "mail_send",
    aliases: &["mail.send", "smtp_send", "smtp.send"],
    summary: "Sends a mail by SMTP.",
    description: "The connection is made secure by STARTTLS where the server offers it. With a user, AUTH PLAIN or LOGIN proves \
                  who sends. The step fails when the server takes the mail for nobody; whom it refused of several is in \
                  `rejected`.",
    config: &[
        optional(
            "url",
            &["connection", "server"],
            Kind::Text,
            "`smtp://user:password@host:25`, or `smtps://…` with TLS from the start; instead of `host` and `port`.",
        ),
        peer::HOST,
        Field { default: Some("25, with `tls` 465"), ..peer::port("25") },
        peer::USERNAME,
        peer::PASSWORD,
        peer::TLS,
        peer::VERIFY_TLS,
        tls::CA_CERT,
        tls::CLIENT_CERT,
        tls::CLIENT_KEY,
        tls::SERVER_NAME,
        Field {
            default: Some("auto"),
            ..optional(
                "starttls",
                &["start_tls"],
                Kind::Choice(&["auto", "always", "never"]),
                "Whether a plain connection is made secure: `auto` where the server offers it.",
            )
        },
        Field {
            required: true,
            ..optional("from", &["sender"], Kind::Text, "Who sends: `a@example.com`, `Ada <a@example.com>`.")
        },
        Field {
            required: true,
            ..optional("to", &["recipients"], Kind::List(&Kind::Text), "Who gets it, as a list or separated by commas.")
        },
        optional("cc", &[], Kind::List(&Kind::Text), "Who gets a copy."),
        optional("bcc", &[], Kind::List(&Kind::Text), "Who gets a copy without the others seeing it."),
        optional("reply_to", &[], Kind::List(&Kind::Text), "Who gets answers."),
        optional("subject", &[], Kind::Text, "The subject."),
        optional("text", &["body"], Kind::Text, "The text."),
        optional("html", &[], Kind::Text, "The same as HTML."),
        optional("headers", &[], Kind::Map(&Kind::Any), "More headers."),
        optional("attachments", &["attachment"], Kind::List(&ATTACHMENT), "Attachments."),
        peer::timeout("The time for all of it."),
    ],
    open_config: false,
    result: &[
        ResultField { name: "message_id", kind: "string", doc: "The id of the mail, without `<>`." },
        ResultField { name: "accepted", kind: "list", doc: "The addresses that the server takes it for." },
        ResultField { name: "rejected", kind: "list", doc: "The others: `address` and the server's `reply`." },
        ResultField { name: "reply", kind: "string", doc: "What the server said to the mail." },
        ResultField { name: "duration_ms", kind: "integer", doc: "How long it took, in milliseconds." },
    ],
    open_result: false,
    reserved: &["message_id", "accepted", "rejected", "reply", "duration_ms"],
    examples: &[Example {
        title: "A mail with an attachment",
        yaml: "- action: mail_send\n  config:\n    url: smtp://localhost:25\n    from: Shop <shop@example.com>\n    to: [ada@example.com]\n    \
               subject: Your order\n    text: It is on its way.\n    html: <p>It is on its way.</p>\n    attachments:\n      - {filename: \
               order.json, content: {id: 42}}\n",
    }],
};

/// The action.
pub(crate) struct MailSend;

#[async_trait]
impl Action for MailSend {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let endpoint = Endpoint::read(&config, &PROTOCOL, cx.files()).await?;
        if [&endpoint.username, &endpoint.password].into_iter().flatten().any(|text| text.contains(['\r', '\n'])) {
            return Err(config_error("`username` and `password` take one line"));
        }
        let start_tls = match config.text("starttls")?.as_deref() {
            Some("always") => StartTls::Always,
            Some("never") => StartTls::Never,
            _ => StartTls::Auto,
        };
        let letter = Letter::read(cx, &config).await?;
        let limit = peer::limit(&config)?;
        let links = cx.resource(Links::<Client>::default);
        let server = endpoint.shown();
        let request = Value::map([
            ("server", Value::Text(server.clone())),
            ("from", Value::from(letter.from.as_str())),
            ("to", Value::list(letter.recipients.iter().map(|address| Value::from(address.as_str())).collect())),
            ("subject", config.value("subject").cloned().unwrap_or_default()),
            ("bytes", Value::from(letter.message.len())),
        ]);
        cx.note_request(request.clone().into());
        let since = Instant::now();
        let sending = async {
            let mut client = Client::connect(&endpoint, start_tls, cx.connector(), &links.tls).await?;
            let envelope = Envelope { from: &letter.from, to: &letter.recipients, message: &letter.message };
            let delivered = client.send(&envelope).await?;
            client.quit().await;
            Ok(delivered)
        };
        let delivered = within(limit, &server, &request, sending).await?;
        let rejected = delivered
            .rejected
            .into_iter()
            .map(|(address, reply)| Value::map([("address", Value::from(address)), ("reply", Value::from(reply))]));
        let result = Value::map([
            ("message_id", Value::from(letter.message_id)),
            ("accepted", Value::list(delivered.accepted.into_iter().map(Value::from).collect())),
            ("rejected", Value::list(rejected.collect())),
            ("reply", Value::from(delivered.reply)),
            ("duration_ms", Value::from(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))),
        ]);
        Ok(ActionResult { request: request.into(), response: result.clone().into(), result, primary: None })
    }
}

fn config_error(message: &str) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

/// A mail, written out.
struct Letter {
    from: String,
    recipients: Vec<String>,
    message_id: String,
    message: Vec<u8>,
}

impl Letter {
    async fn read(cx: &ActionContext<'_>, config: &Resolved) -> Result<Self, ActionError> {
        let from = Mailbox::read("from", &config.required_text("from")?)?;
        let [to, cc, bcc, reply_to] = ["to", "cc", "bcc", "reply_to"].map(|key| mailboxes(config, key));
        let (to, cc, bcc, reply_to) = (to?, cc?, bcc?, reply_to?);
        if to.is_empty() && cc.is_empty() && bcc.is_empty() {
            return Err(config_error("`to` names nobody"));
        }
        let recipients = [&to, &cc, &bcc].into_iter().flatten().map(|mailbox| mailbox.address.clone()).collect();
        let domain = from.address.rsplit('@').next().filter(|domain| domain.is_ascii()).unwrap_or("testmesh");
        let message_id = format!("{:032x}@{domain}", rand::random::<u128>());
        let mut builder = MessageBuilder::new()
            .message_id(message_id.clone())
            .date(cx.now().timestamp())
            .from(from.header())
            .to(Address::new_list(to.iter().map(Mailbox::header).collect()));
        if !cc.is_empty() {
            builder = builder.cc(Address::new_list(cc.iter().map(Mailbox::header).collect()));
        }
        if !reply_to.is_empty() {
            builder = builder.reply_to(Address::new_list(reply_to.iter().map(Mailbox::header).collect()));
        }
        if let Some(subject) = config.text("subject")? {
            builder = builder.subject(line("subject", &subject)?);
        }
        for (name, value) in &config.map("headers")? {
            let value = value.to_text().unwrap_or_default();
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
            if !is_name {
                return Err(config_error(&format!("`headers`: `{name}` is no name of a header")));
            }
            let value = line("headers", &value)?;
            builder = if value.is_ascii() {
                builder.header(name.to_string(), Raw::new(value))
            } else {
                builder.header(name.to_string(), Text::new(value))
            };
        }
        let (text, html) = (config.text("text")?, config.text("html")?);
        if text.is_some() || html.is_none() {
            builder = builder.text_body(text.unwrap_or_default().to_string());
        }
        if let Some(html) = html {
            builder = builder.html_body(html.to_string());
        }
        for attachment in config.list("attachments")? {
            let Attachment { name, kind, content } = Attachment::read(cx, &attachment).await?;
            builder = builder.attachment(kind, name, content.to_vec());
        }
        let message =
            builder.write_to_vec().map_err(|error| config_error(&format!("the mail cannot be written: {error}")))?;
        Ok(Self { from: from.address, recipients, message_id, message })
    }
}

/// A text without line ends, which would begin another header.
fn line(key: &str, text: &str) -> Result<String, ActionError> {
    if text.contains(['\r', '\n', '\0']) {
        return Err(config_error(&format!("`{key}` takes one line")));
    }
    Ok(text.to_owned())
}

/// `Ada <ada@example.com>`.
#[derive(Debug, PartialEq, Eq)]
struct Mailbox {
    name: Option<String>,
    address: String,
}

impl Mailbox {
    fn read(key: &str, text: &str) -> Result<Self, ActionError> {
        let wrong = || {
            config_error(&format!("`{key}`: `{}` is no address such as `Ada <ada@example.com>`", text.escape_debug()))
        };
        let (name, address) = match text.trim().split_once('<') {
            Some((name, rest)) => {
                (name.trim().trim_matches('"'), rest.trim().strip_suffix('>').ok_or_else(wrong)?.trim())
            }
            None => ("", text.trim()),
        };
        let is_plain = |next: char| !next.is_whitespace() && !next.is_control() && !"<>,;\"".contains(next);
        let shaped = address.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if !shaped || !address.chars().all(is_plain) || name.contains(|next: char| next.is_control()) {
            return Err(wrong());
        }
        Ok(Self { name: Some(name.to_owned()).filter(|name| !name.is_empty()), address: address.to_owned() })
    }

    fn header(&self) -> Address<'static> {
        Address::new_address(self.name.clone(), self.address.clone())
    }
}

/// The addresses at a key, as a list or separated by commas.
fn mailboxes(config: &Resolved, key: &str) -> Result<Vec<Mailbox>, ActionError> {
    let mut found = Vec::new();
    for item in config.list(key)? {
        let text = item.to_text().unwrap_or_default();
        let mut quoted = false;
        let parts = text.split(|next: char| {
            quoted ^= next == '"';
            next == ',' && !quoted
        });
        for part in parts.filter(|part| !part.trim().is_empty()) {
            found.push(Mailbox::read(key, part)?);
        }
    }
    Ok(found)
}

struct Attachment {
    name: String,
    kind: String,
    content: Bytes,
}

impl Attachment {
    async fn read(cx: &ActionContext<'_>, attachment: &Value) -> Result<Self, ActionError> {
        let fields =
            entries(attachment).ok_or_else(|| config_error("`attachments` takes maps with `path` or `content`"))?;
        let config = Resolved::new(fields.into_iter().collect());
        let path = config.text("path")?;
        let content = match (&path, config.value("content")) {
            (Some(path), None) => cx.files().read(path, FILE_LIMIT).await.map_err(|error| file_error(&error))?,
            (None, Some(content)) => messages::payload(content).unwrap_or_default(),
            _ => return Err(config_error("`attachments`: each takes `path` or `content`")),
        };
        let own = path.as_deref().map(|path| path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned());
        let name = config.text("filename")?.map(String::from).or(own).unwrap_or_else(|| "attachment".to_owned());
        let guessed = || mime_guess::from_path(&name).first_or_octet_stream().essence_str().to_owned();
        let kind = config.text("content_type")?.map_or_else(guessed, ByteString::into);
        Ok(Self { kind: line("content_type", &kind)?, name: line("filename", &name)?, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_have_names_and_nothing_that_ends_a_line() {
        let read = |text: &str| Mailbox::read("to", text).ok().map(|found| (found.name, found.address));
        let is = |name: Option<&str>, address: &str| Some((name.map(str::to_owned), address.to_owned()));
        assert_eq!(read("a@b.c"), is(None, "a@b.c"));
        assert_eq!(read(" Ada L. <a@b.c> "), is(Some("Ada L."), "a@b.c"));
        assert_eq!(read("\"L., Ada\" <a@b.c>"), is(Some("L., Ada"), "a@b.c"));
        assert_eq!(read("<a@b.c>"), is(None, "a@b.c"));
        for wrong in
            ["", "a", "a@", "@b", "a b@c", "a@b>c", "Ada <a@b.c", "a@b\r\nRCPT TO:<x@y>", "A\r\nBcc: x@y <a@b.c>"]
        {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
