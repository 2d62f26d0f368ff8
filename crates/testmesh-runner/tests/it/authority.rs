//! Private certificate authorities and client certificates, for every action that opens connections of its own: the same
//! keys, the same answers.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use testmesh_runner::files::Files;
use testmesh_runner::record::{ErrorKind, StepRecord};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::run::{Setting, fails, named_server, passed, run_steps_in};
use crate::secure::{Authority, Start, in_front_with};
use crate::websocket::Server;

/// What a step of a protocol looks like.
struct Case {
    action: &'static str,
    /// Keys beside `url`.
    config: &'static str,
    scheme: &'static str,
    /// `user:password@`
    user: String,
    /// The server, `host:port`.
    server: String,
    path: &'static str,
    start: Start,
}

impl Case {
    /// How a step names the server.
    fn at(&self, host: &str, port: u16) -> String {
        match self.scheme {
            "" => format!("brokers: \"{host}:{port}\""),
            scheme => format!("url: \"{scheme}://{}{host}:{port}{}\"", self.user, self.path),
        }
    }

    /// Names that the certificate must have: Kafka's brokers give addresses.
    fn name(&self) -> (&'static str, &'static str) {
        if self.scheme.is_empty() { ("127.0.0.1", "localhost") } else { ("localhost", "127.0.0.1") }
    }
}

/// A folder with the certificates that steps name.
fn folder(authority: &Authority) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("ca.pem", &authority.pem());
    put("other.pem", &Authority::new().pem());
    let client = authority.issue("client");
    put("client.pem", &client.certificate);
    put("client.key", &client.key);
    put("both.pem", &format!("{}{}", client.certificate, client.key));
    folder
}

async fn run(steps: &str, folder: &Path) -> Vec<StepRecord> {
    let files = Files { base: folder.to_path_buf(), root: Some(folder.to_path_buf()), enabled: true };
    run_steps_in(steps, Setting { files, ..Setting::default() }).await
}

/// Every server that the environment names, and `web`, behind TLS.
fn cases(web: &Server) -> Vec<Case> {
    let mut cases = vec![Case {
        action: "websocket",
        config: "",
        scheme: "wss",
        user: String::new(),
        server: web.address.to_string(),
        path: "/echo",
        start: Start::AtOnce,
    }];
    for (variable, kind, action, config, scheme, start) in [
        ("TESTMESH_TEST_NATS", "NATS", "nats_publish", "subject: a, payload: x", "tls", Start::AfterInfo),
        ("TESTMESH_TEST_MQTT", "MQTT", "mqtt_publish", "topic: a, payload: x", "mqtts", Start::AtOnce),
        ("TESTMESH_TEST_AMQP", "AMQP", "amqp_publish", "routing_key: a, payload: x", "amqps", Start::AtOnce),
        ("TESTMESH_TEST_REDIS", "Redis", "redis.ping", "", "rediss", Start::AtOnce),
    ] {
        let Some(url) = named_server(variable, kind) else { continue };
        let rest = url.split_once("://").unwrap().1;
        let (user, server) =
            rest.rsplit_once('@').map_or((String::new(), rest), |(user, host)| (format!("{user}@"), host));
        let server = server.split('/').next().unwrap().to_owned();
        cases.push(Case { action, config, scheme, user, server, path: "", start });
    }
    if let Some(addresses) = named_server("TESTMESH_TEST_KAFKA", "Kafka") {
        let server = addresses.split(' ').next().unwrap().to_owned();
        let config = "tls: true, topic: authority, payload: x, timeout: 20s";
        cases.push(Case {
            action: "kafka_producer",
            config,
            scheme: "",
            user: String::new(),
            server,
            path: "",
            start: Start::AtOnceForKafka,
        });
    }
    cases
}

#[tokio::test]
async fn a_private_authority_is_believed_when_it_is_named() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let web = Server::start().await;
    for case in cases(&web) {
        let Case { action, config, .. } = &case;
        let (name, other) = case.name();
        let front = in_front_with(case.server.clone(), case.start, authority.server(name, false)).await;
        let port = front.port();
        let (right, wrong) = (case.at(name, port), case.at(other, port));
        let steps = format!(
            r"
- {{action: {action}, config: {{{right}, ca_cert: ca.pem, {config}}}}}
- {{action: {action}, config: {{{wrong}, ca_cert: ca.pem, server_name: {name}, {config}}}}}
- {{id: no_authority, action: {action}, config: {{{right}, {config}}}}}
- {{id: wrong_authority, action: {action}, config: {{{right}, ca_cert: other.pem, {config}}}}}
- {{id: wrong_name, action: {action}, config: {{{wrong}, ca_cert: ca.pem, {config}}}}}
- {{id: no_file, action: {action}, config: {{{right}, ca_cert: missing.pem, {config}}}}}
- {{id: no_pem, action: {action}, config: {{{right}, ca_cert: client.key, {config}}}}}
"
        );
        let records = run(&steps, folder.path()).await;
        passed(&records[..2]);
        for (record, part) in records[2..5].iter().zip(["UnknownIssuer", "", other]) {
            fails(record, ErrorKind::Connection, "the TLS handshake with");
            fails(record, ErrorKind::Connection, part);
            fails(record, ErrorKind::Connection, &format!(":{port}"));
        }
        fails(&records[5], ErrorKind::Config, "missing.pem");
        fails(&records[6], ErrorKind::Config, "CA certificate");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let web = Server::start().await;
    for case in cases(&web) {
        let Case { action, config, .. } = &case;
        let (name, _) = case.name();
        let front = in_front_with(case.server.clone(), case.start, authority.server(name, true)).await;
        let port = front.port();
        let at = case.at(name, port);
        let steps = format!(
            r"
- {{action: {action}, config: {{{at}, ca_cert: ca.pem, client_cert: client.pem, client_key: client.key, {config}}}}}
- {{action: {action}, config: {{{at}, ca_cert: ca.pem, client_cert: both.pem, {config}}}}}
- {{action: {action}, config: {{{at}, ca_cert: ca.pem, client_cert: {{cert: client.pem, key: client.key}}, {config}}}}}
- {{id: none, action: {action}, config: {{{at}, ca_cert: ca.pem, {config}}}}}
- {{id: no_key, action: {action}, config: {{{at}, ca_cert: ca.pem, client_cert: client.pem, {config}}}}}
"
        );
        let records = run(&steps, folder.path()).await;
        passed(&records[..3]);
        fails(&records[3], ErrorKind::Connection, &format!(":{port}"));
        fails(&records[4], ErrorKind::Config, "client certificate's key");
    }
}

#[tokio::test]
async fn certificates_for_a_connection_without_tls_are_a_mistake() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let steps = r#"
- {action: mqtt_publish, config: {url: "mqtt://localhost:1", ca_cert: ca.pem, topic: a}}
- {action: amqp_publish, config: {url: "amqp://localhost:1", client_cert: both.pem, routing_key: a}}
- {action: redis.ping, config: {url: "redis://localhost:1", ca_cert: ca.pem}}
- {action: kafka_producer, config: {brokers: "localhost:1", ca_cert: ca.pem, topic: a, payload: x}}
- {action: websocket.send, config: {url: "ws://localhost:1", client_cert: both.pem, message: x}}
"#;
    let records = run(steps, folder.path()).await;
    for record in &records[..4] {
        fails(record, ErrorKind::Config, "set `tls: true`");
    }
    fails(&records[4], ErrorKind::Config, "`client_cert` is given, and the connection is not to be secure: take `wss`");
}

/// A program of a server with TLS of its own; ends with the test.
pub(crate) async fn native(program: &str, arguments: &[String], port: u16) -> Option<Child> {
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = started.ok()?;
    for _ in 0..400 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Some(child);
        }
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    None
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server to start, and steps: two that pass, then some that fail.
struct Native {
    variable: &'static str,
    program: &'static str,
    port: u16,
    /// Separated by single spaces.
    arguments: String,
    steps: String,
}

/// Keys that a server which wants a certificate is satisfied with.
const CLIENT: &str = "ca_cert: ca.pem, client_cert: client.pem, client_key: client.key";

fn nats(home: &str) -> Native {
    let port = free_port();
    Native {
        variable: "TESTMESH_TEST_NATS",
        program: "nats-server",
        port,
        arguments: format!(
            "-a 127.0.0.1 -p {port} --tls --tlscert {home}/server.pem --tlskey {home}/server.key --tlscacert {home}/ca.pem --tlsverify"
        ),
        steps: format!(
            r#"
- {{action: nats_publish, config: {{url: "tls://localhost:{port}", {CLIENT}, subject: a, payload: x}}}}
- {{action: nats_publish, config: {{url: "nats://localhost:{port}", {CLIENT}, subject: a, payload: x}}}}
- {{id: without, action: nats_publish, config: {{url: "tls://localhost:{port}", ca_cert: ca.pem, subject: a}}}}
"#
        ),
    }
}

fn mosquitto(home: &str) -> Native {
    let port = free_port();
    let settings = format!(
        "listener {port} 127.0.0.1\ncafile {home}/ca.pem\ncertfile {home}/server.pem\nkeyfile {home}/server.key\n\
         require_certificate true\nallow_anonymous true\nuser root\n"
    );
    std::fs::write(format!("{home}/mosquitto.conf"), settings).unwrap();
    Native {
        variable: "TESTMESH_TEST_MQTT",
        program: "mosquitto",
        port,
        arguments: format!("-c {home}/mosquitto.conf"),
        steps: format!(
            r#"
- {{action: mqtt_publish, config: {{url: "mqtts://localhost:{port}", {CLIENT}, topic: a, payload: x}}}}
- {{action: mqtt_publish, config: {{host: localhost, port: {port}, tls: true, {CLIENT}, topic: a, payload: x, version: "5"}}}}
- {{id: without, action: mqtt_publish, config: {{url: "mqtts://localhost:{port}", ca_cert: ca.pem, topic: a}}}}
"#
        ),
    }
}

fn redis(home: &str) -> Native {
    let port = free_port();
    std::fs::write(format!("{home}/users.acl"), "user default off\nuser ada on >secret ~a:* +@all\n").unwrap();
    Native {
        variable: "TESTMESH_TEST_REDIS",
        program: "redis-server",
        port,
        arguments: format!(
            "--port 0 --bind 127.0.0.1 --tls-port {port} --tls-cert-file {home}/server.pem --tls-key-file {home}/server.key \
             --tls-ca-cert-file {home}/ca.pem --aclfile {home}/users.acl --save  --dir {home}"
        ),
        steps: format!(
            r#"
- {{action: redis.set, config: {{url: "rediss://ada:secret@localhost:{port}", {CLIENT}, key: "a:b", value: "1"}}, assert: [ok == true]}}
- {{action: redis.get, config: {{host: localhost, port: {port}, tls: true, username: ada, password: secret, {CLIENT}, key: "a:b"}}, assert: [value == "1"]}}
- {{id: without, action: redis.get, config: {{url: "rediss://ada:secret@localhost:{port}", ca_cert: ca.pem, key: "a:b"}}}}
- {{id: wrong_password, action: redis.get, config: {{url: "rediss://ada:wr0ng@localhost:{port}", {CLIENT}, key: "a:b"}}}}
- {{id: no_user, action: redis.get, config: {{url: "rediss://localhost:{port}", {CLIENT}, key: "a:b"}}}}
- {{id: forbidden, action: redis.get, config: {{url: "rediss://ada:secret@localhost:{port}", {CLIENT}, key: "other"}}}}
"#
        ),
    }
}

#[tokio::test]
async fn servers_with_tls_of_their_own_are_spoken_to() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let home = folder.path().to_str().unwrap();
    let server = authority.issue("localhost");
    std::fs::write(format!("{home}/server.pem"), &server.certificate).unwrap();
    std::fs::write(format!("{home}/server.key"), &server.key).unwrap();
    for started in [nats(home), mosquitto(home), redis(home)] {
        let Native { variable, program, port, arguments, steps } = started;
        if named_server(variable, program).is_none() {
            continue;
        }
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        let child = native(program, &arguments, port).await;
        assert!(child.is_some(), "`{program}` does not start: {arguments:?}");
        let records = run(&steps, folder.path()).await;
        passed(&records[..2]);
        let refusals = [
            (ErrorKind::Connection, format!("localhost:{port}")),
            (ErrorKind::Connection, "WRONGPASS".to_owned()),
            (ErrorKind::Connection, "NOAUTH".to_owned()),
            (ErrorKind::Protocol, "NOPERM".to_owned()),
        ];
        for (record, (kind, part)) in records[2..].iter().zip(refusals) {
            fails(record, kind, &part);
        }
    }
}

/// A MariaDB with users that must come over TLS, or with a certificate.
async fn mariadb(home: &str) -> Option<(u16, Child)> {
    named_server("TESTMESH_TEST_MYSQL", "MariaDB")?;
    let port = free_port();
    let made = Command::new("mariadb-install-db")
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--user=root"])
        .arg(format!("--datadir={home}/data"))
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let arguments = format!(
        "--no-defaults --user=root --datadir={home}/data --socket={home}/socket --port={port} --bind-address=127.0.0.1 \
         --ssl-ca={home}/ca.pem --ssl-cert={home}/server.pem --ssl-key={home}/server.key"
    );
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let child = native("mariadbd", &arguments, port).await.expect("mariadbd starts");
    let users = format!(
        "- action: database_query\n  config:\n    connection: \"mysql://root@localhost:{port}/mysql?ssl-mode=disabled\"\n    query: >-\n      \
         create database t; create user tls@'%' identified by 'secret' require ssl;\n      \
         create user shown@'%' identified by 'secret' require x509;\n      \
         grant all on t.* to tls@'%'; grant all on t.* to shown@'%'\n"
    );
    passed(&run(&users, Path::new(home)).await);
    Some((port, child))
}

#[tokio::test]
async fn mysql_is_spoken_to_over_tls() {
    let authority = Authority::new();
    let folder = folder(&authority);
    let home = folder.path().to_str().unwrap();
    let server = authority.issue("localhost");
    std::fs::write(format!("{home}/server.pem"), &server.certificate).unwrap();
    std::fs::write(format!("{home}/server.key"), &server.key).unwrap();
    let Some((port, _child)) = mariadb(home).await else { return };
    let steps = [
        ("tls", "localhost", "ssl-mode=required"),
        ("tls", "localhost", "ssl-mode=verify_identity&ssl-ca=ca.pem"),
        ("shown", "localhost", "ssl-mode=verify_identity&ssl-ca=ca.pem&ssl-cert=client.pem&ssl-key=client.key"),
        ("shown", "localhost", "ssl-mode=required&ssl-cert=both.pem"),
        ("tls", "localhost", "ssl-mode=verify_identity&ssl-ca=other.pem"),
        ("tls", "127.0.0.1", "ssl-mode=verify_identity&ssl-ca=ca.pem"),
        ("tls", "localhost", "ssl-mode=verify_identity"),
        ("tls", "localhost", "ssl-mode=disabled"),
        ("shown", "localhost", "ssl-mode=required"),
    ]
    .map(|(user, host, options)| {
        format!(
            "- action: database_query\n  config: {{connection: \"mysql://{user}:secret@{host}:{port}/t?{options}\", query: \"show status like 'Ssl_cipher'\"}}\n  \
             assert: [\"first_row.Value != ''\"]\n"
        )
    });
    let records = run(&steps.concat(), folder.path()).await;
    passed(&records[..4]);
    for record in &records[4..7] {
        fails(record, ErrorKind::Connection, "certificate");
        fails(record, ErrorKind::Connection, &format!(":{port}/t`"));
    }
    for record in &records[7..] {
        fails(record, ErrorKind::Connection, "Access denied");
    }
}
