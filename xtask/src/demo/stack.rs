//! PostgreSQL, Redis, Kafka and the shop on top of them.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::services::peers::{PEERS, Running};
use crate::services::{Missing, Ports, Program, Services, Wanted};
use crate::workspace::Failure;

/// Where flows that name a port expect what they test.
const POSTGRES: u16 = 5432;
const REDIS: u16 = 6379;
const KAFKA: u16 = 9092;
/// The shop's services, each with the setting of its address, its usual port, and the variable for flows.
const SERVICES: &[(&str, &str, u16, &str)] = &[
    ("user", "--user-listen", 5001, "USER_SERVICE_URL"),
    ("product", "--product-listen", 5002, "PRODUCT_SERVICE_URL"),
    ("order", "--order-listen", 5003, "ORDER_SERVICE_URL"),
    ("notification", "--notification-listen", 5004, "NOTIFICATION_SERVICE_URL"),
    ("recommendation_grpc", "--recommendation-grpc-listen", 5005, "RECOMMENDATION_GRPC_HOST"),
    ("recommendation", "--recommendation-listen", 5006, "RECOMMENDATION_SERVICE_URL"),
    ("payment", "--payment-listen", 5007, "PAYMENT_SERVICE_URL"),
];
/// What callers of the shop's first interface show.
const API_KEY: &str = "demo-api-key";
/// How long the shop may take for one reset.
const RESET: Duration = Duration::from_mins(1);

/// How the shop is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Everything on free ports, and not where flows expect it that name a port.
    pub(crate) free_ports: bool,
    /// Logins with unknown addresses are told from others.
    pub(crate) reveal_unknown_emails: bool,
}

/// All of it. Dropped in this order.
pub(crate) struct Stack {
    shop: Program,
    /// Where the shop is put back to its beginning.
    pub(super) admin: String,
    /// Where everything is, as flows want to be told.
    pub(super) variables: Vec<(&'static str, String)>,
    _kafka: Running,
    _services: Services,
}

impl Stack {
    /// Starts everything and waits until the shop is open.
    pub(crate) fn start(target: &Path, setup: Setup, out: &mut dyn Write) -> Result<Self, Failure> {
        let port = |usual: u16| if setup.free_ports { None } else { Some(usual) };
        let wanted = Wanted { postgres: true, redis: true, faketime: false, missing: Missing::Install };
        writeln!(out, "starting PostgreSQL, Redis and Kafka")?;
        let ports = Ports { postgres: port(POSTGRES), redis: port(REDIS) };
        let services = Services::start_at(wanted, ports, out).map_err(|error| with_hint(&error, setup))?;
        let (Some(postgres), Some(redis)) = (&services.postgres, &services.redis) else {
            return Err(services.missing.join("; ").into());
        };
        make_login(&postgres.url())?;
        let peer: Vec<_> = PEERS.iter().filter(|peer| peer.name == "Kafka").collect();
        let cache = target.join("test-servers");
        let kafka = Running::start_at(&peer, port(KAFKA), (Missing::Install, &cache), out);
        let kafka = kafka.map_err(|error| with_hint(&error, setup))?;
        let brokers = kafka.servers.first().and_then(|(_, addresses)| addresses.split(' ').next());
        let brokers = brokers.ok_or_else(|| kafka.missing.join("; "))?.to_owned();

        let database = format!("postgres://root:admin@localhost:{}/postgres?sslmode=disable", postgres.port());
        let mut arguments = vec!["--database-url".to_owned(), database.clone()];
        arguments.extend(["--redis-url".to_owned(), redis.url(), "--kafka-brokers".to_owned(), brokers.clone()]);
        arguments.extend(["--admin-listen=127.0.0.1:0".to_owned(), format!("--api-key={API_KEY}")]);
        for (_, flag, usual, _) in SERVICES {
            arguments.push(format!("{flag}=127.0.0.1:{}", port(*usual).unwrap_or(0)));
        }
        if setup.reveal_unknown_emails {
            arguments.push("--reveal-unknown-emails".to_owned());
        }
        writeln!(out, "opening the shop")?;
        let mut shop = Program::start(&target.join("debug/demo-shop"), &arguments)?;
        let addresses = shop.wait_for(ready).map_err(|error| with_hint(&error, setup))?;
        let address = |name: &str| addresses[name].as_str().map(str::to_owned);
        let admin = address("admin").ok_or("the shop does not say where it is")?;
        let mut variables = vec![
            ("DB_URL", database.clone()),
            ("DB_DSN", database),
            ("REDIS_HOST", "localhost".to_owned()),
            ("REDIS_PORT", redis.port().to_string()),
            ("KAFKA_BROKERS", brokers.replace("127.0.0.1", "localhost")),
            ("API_KEY", API_KEY.to_owned()),
        ];
        for (name, _, _, variable) in SERVICES {
            let address = address(name).ok_or_else(|| format!("the shop has no service `{name}`"))?;
            let address = address.replace("127.0.0.1", "localhost");
            let scheme = if variable.ends_with("_URL") { "http://" } else { "" };
            variables.push((variable, format!("{scheme}{address}")));
        }
        Ok(Self { shop, admin, variables, _kafka: kafka, _services: services })
    }

    /// The variables as a dotenv file.
    pub(super) fn dotenv(&self) -> String {
        let mut text = String::from("# Where the demo shop is; written by `cargo xtask demo`.\n");
        for (name, value) in &self.variables {
            let _ = writeln!(text, "{name}={value}");
        }
        text
    }

    /// Puts the shop back to its beginning.
    pub(super) fn reset(&self) -> Result<(), Failure> {
        let mut stream = TcpStream::connect(&self.admin)?;
        stream.set_read_timeout(Some(RESET))?;
        let host = &self.admin;
        write!(stream, "POST /reset HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        Err(format!("the shop cannot be put back to its beginning:\n{}", self.shop.log_end()).into())
    }
}

/// The first usual port that something else listens on.
pub(crate) fn taken_port() -> Option<u16> {
    let services = SERVICES.iter().map(|(_, _, port, _)| *port);
    services.chain([POSTGRES, REDIS, KAFKA]).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_err())
}

fn with_hint(error: &Failure, setup: Setup) -> Failure {
    let hint = "; something else listens there: end it, or take `--free-ports` for flows that name no ports";
    match taken_port() {
        Some(port) if !setup.free_ports && error.to_string().contains(&port.to_string()) => {
            format!("{error}{hint}").into()
        }
        _ => error.to_string().into(),
    }
}

/// The line that the shop prints when it is open.
fn ready(line: &str) -> Option<serde_json::Value> {
    let mut line: serde_json::Value = serde_json::from_str(line).ok()?;
    (line["ready"] == true).then(|| line["services"].take())
}

/// The login that flows for the shop use.
fn make_login(url: &str) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql("create role root superuser login password 'admin'").execute(&mut connection).await?;
        Ok(connection.close().await?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shop_is_open_when_it_says_so() {
        assert_eq!(ready("{\"ready\":true,\"services\":{\"user\":\"127.0.0.1:1\"}}").unwrap()["user"], "127.0.0.1:1");
        for line in ["", "ready", "{\"ready\":false,\"services\":{}}", "demo-shop: no"] {
            assert_eq!(ready(line), None, "{line}");
        }
    }
}
