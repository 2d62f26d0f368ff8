//! `mail_wait`: waits for mails that a catcher of the run was sent.

use std::sync::Arc;

use async_trait::async_trait;
use bytestring::ByteString;

use super::mail::catcher::{Catcher, Mail};
use super::mail::{self, Catchers};
use super::messages::{self, Expected, Source};
use super::peer::optional;
use crate::action::{ActionError, ActionSpec, Arm, Example, Expectation, Field, Kind, ResultField, Waits};
use crate::engine::{ActionContext, Resolved};
use crate::record::ErrorKind;
use crate::value::Value;

const MATCH: Field = messages::match_field(Kind::Object(&[
    optional("to", &["recipient"], Kind::Text, "The address of a recipient."),
    optional("from", &["sender"], Kind::Text, "The sender's address."),
    optional("subject", &[], Kind::Text, "A part of the subject."),
    optional("body", &["text"], Kind::Text, "A part of the text or the HTML."),
    messages::MATCH_HEADERS,
    messages::MATCH_VALUE,
]));

static SPEC: ActionSpec = ActionSpec {
    name: "mail_wait",
    aliases: &["mail.wait", "mail.receive", "mail_receive"],
    summary: "Waits for mails that `mail_catcher` caught.",
    description: "All mails since the catcher started count, those that an earlier step found as well. Fails when fewer than \
                  `count` come within `timeout`, unless `min_count` asks for less. With `background: true` those count that \
                  come after it is armed.\n\n`$` in outputs is the first mail.",
    config: &[mail::NAME, messages::COUNT, messages::MIN_COUNT, messages::TIMEOUT, MATCH],
    open_config: false,
    result: &[
        ResultField {
            name: "messages",
            kind: "list",
            doc: "The mails in the order they came: `from`, `from_name`, `to`, `cc`, `reply_to`, `subject`, `date`, `message_id`, \
                  `headers`, `text` and `html` (lines end with `\\n`), `attachments` (`filename`, `content_type`, `content_id`, `size`, `content`), `size`, \
                  `received_at`, and of the envelope `sender` and `recipients`.",
        },
        messages::N_MESSAGES,
    ],
    open_result: false,
    reserved: &["messages", "count"],
    examples: &[Example {
        title: "The link in a mail",
        yaml: "- action: mail_catcher\n- action: mail_wait\n  config:\n    match: {to: ada@example.com, subject: Confirm}\n    \
               timeout: 10s\n  assert: messages[0].html contains \"/confirm/\"\n",
    }],
};

/// The action.
pub(crate) struct MailWait;

impl Waits for MailWait {
    const SPEC: &'static ActionSpec = &SPEC;
}

#[async_trait]
impl Arm for MailWait {
    async fn arm(&self, cx: &ActionContext<'_>) -> Result<Expectation, ActionError> {
        let config = cx.resolve()?;
        let name = config.text("name")?.unwrap_or_else(|| "default".into());
        let catcher = cx.resource(Catchers::default).find(&name).ok_or_else(|| {
            ActionError::new(
                ErrorKind::Config,
                format!("no mail catcher named `{name}` runs: `mail_catcher` starts one"),
            )
        })?;
        let expected = Expected::read(&config, &[])?;
        // What is there when it is armed is nothing that the steps after it caused.
        let seen = if cx.in_background() { catcher.inbox.count() } else { 0 };
        let mails = Mails { wanted: Wanted::read(&config)?, catcher, seen };
        let request = Value::map([
            ("server", Value::Text(mails.server())),
            ("match", config.value("match").cloned().unwrap_or_default()),
            ("count", Value::from(expected.count())),
        ]);
        expected.arm(cx, mails, request).await
    }
}

/// Which mails count, by what every mail has.
struct Wanted {
    to: Option<ByteString>,
    from: Option<ByteString>,
    subject: Option<ByteString>,
    body: Option<ByteString>,
}

impl Wanted {
    fn read(config: &Resolved) -> Result<Self, ActionError> {
        let section = config.section("match")?.unwrap_or_default();
        let text = |key| section.text(key);
        Ok(Self { to: text("to")?, from: text("from")?, subject: text("subject")?, body: text("body")? })
    }

    fn takes(&self, mail: &Value) -> bool {
        let texts = |key: &str| {
            let value = mail.get(key).unwrap_or_default();
            value.items().map_or_else(|| vec![value.clone()], |items| items.to_vec())
        };
        let any = |keys: &[&str], holds: &dyn Fn(&str) -> bool| {
            keys.iter().flat_map(|key| texts(key)).any(|text| text.as_str().is_some_and(holds))
        };
        let is = |keys: &[&str], wanted: &Option<ByteString>| match wanted {
            Some(wanted) => any(keys, &|text| text.eq_ignore_ascii_case(wanted)),
            None => true,
        };
        let has = |keys: &[&str], wanted: &Option<ByteString>| match wanted {
            Some(wanted) => any(keys, &|text| text.contains(&**wanted)),
            None => true,
        };
        is(&["recipients", "to", "cc"], &self.to)
            && is(&["from", "sender"], &self.from)
            && has(&["subject"], &self.subject)
            && has(&["text", "html"], &self.body)
    }
}

struct Mails {
    wanted: Wanted,
    catcher: Arc<Catcher>,
    /// How many were looked at.
    seen: usize,
}

#[async_trait]
impl Source for Mails {
    fn server(&self) -> ByteString {
        self.catcher.url.as_str().into()
    }

    fn name(&self) -> ByteString {
        "the mail catcher".into()
    }

    async fn subscribe(&mut self) -> Result<(), ActionError> {
        // The catcher keeps every mail.
        Ok(())
    }

    async fn next(&mut self) -> Result<Value, ActionError> {
        loop {
            let mail: Arc<Mail> = self.catcher.inbox.mail(self.seen).await;
            self.seen += 1;
            let mail = mail::seen(&mail);
            if self.wanted.takes(&mail) {
                return Ok(mail);
            }
        }
    }
}
