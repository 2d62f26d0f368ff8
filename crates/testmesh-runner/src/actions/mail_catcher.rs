//! `mail_catcher`: starts a mail server of the run's own, which takes whatever comes.

use std::net::{IpAddr, Ipv4Addr};

use async_trait::async_trait;
use testmesh_shared::net::{ListenError, Listener};

use super::http_request::chain;
use super::mail::catcher::Catcher;
use super::mail::{self, Catchers};
use super::peer::optional;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::ActionContext;
use crate::record::ErrorKind;
use crate::value::Value;

static SPEC: ActionSpec = ActionSpec {
    name: "mail_catcher",
    aliases: &["mail.catcher", "mail.catcher_start", "mail_catcher_start"],
    summary: "Starts a mail server for the run that keeps what it is sent.",
    description: "Point the system under test at the `host` and `port` of the result; `mail_wait` then waits for its mails. The \
                  catcher takes every sender, recipient, user and password, and delivers nothing. It ends with the run. It \
                  keeps up to 1,000 mails of up to 10 MiB, 100 MiB in all.",
    config: &[
        mail::NAME,
        Field {
            default: Some("127.0.0.1"),
            ..optional(
                "bind",
                &[],
                Kind::Text,
                "The address to listen on; a server's `mock_bind` is its default. `0.0.0.0` is all of this machine's.",
            )
        },
        Field {
            default: Some("that address"),
            ..optional("host", &[], Kind::Text, "The name or address that the system under test reaches it by.")
        },
        Field {
            default: Some("a free one"),
            ..optional("port", &[], Kind::Integer { min: 0, max: 65_535 }, "The port to listen on.")
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "host", kind: "string", doc: "The name or address that it is reached by." },
        ResultField { name: "port", kind: "integer", doc: "The port." },
        ResultField { name: "url", kind: "string", doc: "Both, as `mail_send` takes them: `smtp://127.0.0.1:2525`." },
    ],
    open_result: false,
    reserved: &["host", "port", "url"],
    examples: &[Example {
        title: "A mail that is sent and caught",
        yaml: "- id: inbox\n  action: mail_catcher\n- action: mail_send\n  config:\n    url: ${inbox.url}\n    from: shop@example.com\n    \
               to: Ada <ada@example.com>\n    subject: Your order\n    text: It is on its way.\n- action: mail_wait\n  config:\n    \
               match: {to: ada@example.com, subject: order}\n    timeout: 5s\n  assert: messages[0].text == \"It is on its way.\"\n",
    }],
};

/// The action.
pub(crate) struct MailCatcher;

#[async_trait]
impl Action for MailCatcher {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let name = config.text("name")?.unwrap_or_else(|| "default".into());
        let wrong = |message: String| ActionError::new(ErrorKind::Config, message);
        let catchers = cx.resource(Catchers::default);
        let taken = || wrong(format!("a mail catcher named `{name}` runs already"));
        if catchers.find(&name).is_some() {
            return Err(taken());
        }
        let address = match config.text("bind")?.as_deref() {
            None => None,
            Some("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Some(text) => Some(text.parse().map_err(|_| wrong(format!("`bind` takes an IP address, got `{text}`")))?),
        };
        let port = config.integer("port")?.map_or(0, |port| u16::try_from(port).unwrap_or(0));
        let Listener { socket, address, host } = cx.connector().listen(address, port).await.map_err(|error| {
            let kind = match &error {
                ListenError::Denied { .. } => ErrorKind::Policy,
                ListenError::Bind { .. } => ErrorKind::Connection,
            };
            ActionError::new(kind, format!("mail catcher `{name}`: {}", chain(&error)))
        })?;
        let host = config.text("host")?.map_or(host, String::from);
        let url = format!("smtp://{host}:{}", address.port());
        if !catchers.add(name.clone(), Catcher::start(socket, url.clone(), cx.clock())) {
            return Err(taken());
        }
        let result = Value::map([
            ("host", Value::from(host)),
            ("port", Value::Int(address.port().into())),
            ("url", Value::from(url)),
        ]);
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}
