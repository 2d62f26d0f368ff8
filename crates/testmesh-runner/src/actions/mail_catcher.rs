//! `mail_catcher`: starts a mail server of the run's own, which takes whatever comes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use async_trait::async_trait;

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
                "host",
                &["address"],
                Kind::Text,
                "The address to listen on; `0.0.0.0` is all of this machine's.",
            )
        },
        Field {
            default: Some("a free one"),
            ..optional("port", &[], Kind::Integer { min: 0, max: 65_535 }, "The port to listen on.")
        },
    ],
    open_config: false,
    result: &[
        ResultField { name: "host", kind: "string", doc: "The address that it listens on." },
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
        let host = config.text("host")?.unwrap_or_else(|| "127.0.0.1".into());
        let wrong = |message: String| ActionError::new(ErrorKind::Config, message);
        let ip = match &*host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host
                .parse()
                .map_err(|_| wrong(format!("`host` is `{host}`, which is no address such as `127.0.0.1`")))?,
        };
        let port = config.integer("port")?.map_or(0, |port| u16::try_from(port).unwrap_or(0));
        let catchers = cx.resource(Catchers::default);
        let taken = || wrong(format!("a mail catcher named `{name}` runs already"));
        if catchers.find(&name).is_some() {
            return Err(taken());
        }
        let address = SocketAddr::new(ip, port);
        let failed = |error| ActionError::new(ErrorKind::Connection, format!("cannot listen on `{address}`: {error}"));
        let catcher = Catcher::start(address, cx.clock()).await.map_err(failed)?;
        let address = catcher.address;
        if !catchers.add(name.clone(), catcher) {
            return Err(taken());
        }
        let result = Value::map([
            ("host", Value::from(address.ip().to_string())),
            ("port", Value::Int(address.port().into())),
            ("url", Value::from(format!("smtp://{address}"))),
        ]);
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}
