//! The mail actions in flows: sent by one, caught and found by the others.

use testmesh_runner::files::Files;
use testmesh_runner::record::{ErrorKind, StepStatus};
use testmesh_shared::net::NetPolicy;
use testmesh_shared::tasks::Tasks;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::run::{Setting, each, fails, passed, run_steps, run_steps_in};
use crate::secure::{Authority, Start, in_front_of, in_front_with, says};

#[tokio::test]
async fn what_is_sent_is_caught_whole() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("report.csv"), "a;b\n1;2\n").unwrap();
    let files = Files { base: folder.path().to_path_buf(), root: Some(folder.path().to_path_buf()), enabled: true };
    let steps = r#"
- id: inbox
  action: mail_catcher
  assert: [port > 0, "host == '127.0.0.1'", "url startsWith 'smtp://127.0.0.1:'"]
- id: sent
  action: mail.send
  config:
    url: ${inbox.url}
    username: me
    password: secret
    from: "Jörgs Laden <shop@example.com>"
    to: "Ada <ada@example.com>, bob@example.com"
    cc: [carol@example.com]
    bcc: dan@example.com
    reply_to: help@example.com
    subject: "Grüße, und viele davon: eine Zeile, die länger ist, als eine Zeile in einem Brief sein darf"
    text: ".a dot first\n.\nund Grüße"
    html: "<p>Grüße</p>"
    headers: {X-Order: 42, X-Umlaut: ü}
    attachments:
      - {path: report.csv}
      - {filename: order.json, content: {id: 42}}
      - {filename: "ümlaut.txt", content: plain, content_type: text/plain}
  assert:
    - len(accepted) == 4
    - len(rejected) == 0
    - message_id endsWith "@example.com"
    - reply startsWith "250"
  output: {id: message_id}
- action: mail_wait
  config: {timeout: 20s, match: {to: ADA@example.com, from: shop@example.com, subject: "viele davon", body: dot, headers: {X-Order: "42"}, json_path: ["size > 100", "$.html contains 'p'"]}}
  assert:
    - count == 1
    - messages[0].from == "shop@example.com"
    - messages[0].from_name == "Jörgs Laden"
    - messages[0].to == ["ada@example.com", "bob@example.com"]
    - messages[0].cc == ["carol@example.com"]
    - messages[0].reply_to == ["help@example.com"]
    - messages[0].recipients == ["ada@example.com", "bob@example.com", "carol@example.com", "dan@example.com"]
    - messages[0].sender == "shop@example.com"
    - messages[0].subject startsWith "Grüße, und"
    - messages[0].subject endsWith "sein darf"
    - messages[0].text == ".a dot first\n.\nund Grüße"
    - messages[0].html == "<p>Grüße</p>"
    - messages[0].message_id == id
    - messages[0].headers["x-order"] == "42"
    - messages[0].date != nil
    - len(messages[0].attachments) == 3
    - messages[0].attachments[0].filename == "report.csv"
    - messages[0].attachments[0].content_type == "text/csv"
    - messages[0].attachments[0].content == "a;b\n1;2\n"
    - messages[0].attachments[1].content_type == "application/json"
    - fromJSON(messages[0].attachments[1].content).id == 42
    - messages[0].attachments[2].filename == "ümlaut.txt"
  output: {subject: $.subject}
- action: assert
  config: {assertions: [subject startsWith "Grüße"]}
- {id: denied, action: mail_send, config: {url: "${inbox.url}", from: a@b.c, to: a@b.c, attachments: [{path: /etc/hosts}]}}
"#;
    let records = run_steps_in(steps, Setting { files, ..Setting::default() }).await;
    passed(&records[..records.len() - 1]);
    fails(records.last().unwrap(), ErrorKind::Policy, "/etc/hosts");
}

#[tokio::test]
async fn mails_are_found_among_others_and_too_few_are_told() {
    let steps = r#"
- {id: a, action: mail.catcher_start}
- {id: b, action: mail_catcher, config: {name: other, bind: localhost, host: mail.test}, assert: ["url startsWith 'smtp://mail.test:'"]}
- {id: taken, action: mail_catcher, config: {name: other}}
- {action: mail_send, config: {url: "${a.url}", from: s@x.y, to: one@x.y, subject: first, text: 1}}
- {action: mail_send, config: {host: "${a.host}", port: "${a.port}", from: s@x.y, to: two@x.y, subject: second}}
- {action: mail_send, config: {host: 127.0.0.1, port: "${b.port}", from: s@x.y, to: one@x.y, subject: elsewhere, html: <b>x</b>}}
- {action: mail_wait, config: {count: 2, timeout: 20s}, assert: ["messages[0].subject == 'first'", "messages[1].to[0] == 'two@x.y'"]}
- {action: mail_wait, config: {timeout: 20s, match: {to: two@x.y}}, assert: ["messages[0].subject == 'second'"]}
- {action: mail.wait, config: {name: other, timeout: 20s, match: {body: "<b>"}}, assert: ["messages[0].text is null"]}
- {action: mail_wait, config: {min_count: 0, timeout: 200ms, match: {subject: third}}, assert: [count == 0]}
- {id: too_few, action: mail_wait, config: {count: 3, timeout: 200ms}}
- {id: nobody, action: mail_wait, config: {name: nobody}}
- {id: no_address, action: mail_catcher, config: {name: c, bind: example.com}}
- {id: not_there, action: mail_catcher, config: {name: c, bind: 0.0.0.0}}
"#;
    let records = run_steps(steps).await;
    let (fine, failed): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.error.is_none());
    passed(&fine);
    let [taken, too_few, nobody, no_address, not_there] = &failed[..] else { panic!("{failed:#?}") };
    fails(taken, ErrorKind::Config, "a mail catcher named `other` runs already");
    fails(too_few, ErrorKind::Timeout, "2 of 3 messages of `the mail catcher` within 200ms");
    fails(nobody, ErrorKind::Config, "no mail catcher named `nobody` runs: `mail_catcher` starts one");
    fails(no_address, ErrorKind::Config, "`bind` takes an IP address, got `example.com`");
    fails(not_there, ErrorKind::Policy, "mail catcher `c`: flows may not listen on `0.0.0.0` here");
}

#[tokio::test]
async fn an_armed_wait_takes_what_the_next_step_causes_and_nothing_older() {
    let send = |subject: &str| {
        format!(
            "- {{action: mail_send, config: {{url: '${{inbox.url}}', from: s@x.y, to: a@x.y, subject: {subject}}}}}\n"
        )
    };
    let steps = [
        "- {id: inbox, action: mail_catcher}\n".to_owned(),
        send("before"),
        "- {id: mail, action: mail_wait, background: true, config: {timeout: 20s}}\n".to_owned(),
        send("after"),
        "- {await: mail, assert: [count == 1, \"messages[0].subject == 'after'\"]}\n".to_owned(),
        "- {action: mail_wait, config: {timeout: 20s}, assert: [\"messages[0].subject == 'before'\"]}\n".to_owned(),
    ];
    passed(&run_steps(&steps.concat()).await);
}

#[tokio::test]
async fn a_catcher_ends_with_its_run() {
    let records = run_steps("- {action: mail_catcher}\n").await;
    let port = records[0].response.as_ref().unwrap()["port"].as_u64().unwrap();
    let connecting = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).await;
    assert!(connecting.is_err(), "something still listens");
}

/// Says lines to a catcher, each of which is answered with a code.
async fn talk(port: u16, lines: &[(&str, &str)]) {
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => break BufReader::new(stream),
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let mut heard = String::new();
    stream.read_line(&mut heard).await.unwrap();
    assert!(heard.starts_with("220 "), "{heard}");
    for (line, code) in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        heard.clear();
        stream.read_line(&mut heard).await.unwrap();
        assert!(heard.starts_with(code), "{line}: {heard}");
    }
    if lines.last().is_some_and(|(line, _)| *line == "QUIT") {
        assert_eq!(stream.read_line(&mut heard).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_catcher_answers_every_client() {
    let steps = r#"
- {action: mail_catcher, config: {port: PORT}}
- {action: mail_wait, config: {timeout: 20s}, assert: ['messages[0].text == "two\n.lines"', "messages[0].recipients[0] == 'b@c.d'"]}
"#;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let talking = async {
        let impolite = [
            ("WHAT", "500"),
            ("DATA", "503"),
            ("RCPT TO:<b@c.d>", "503"),
            ("helo me", "250"),
            ("AUTH LOGIN", "334"),
            ("bWU=", "334"),
            ("c2VjcmV0", "235"),
            ("AUTH CRAM-MD5", "504"),
            ("MAIL FROM", "501"),
            ("MAIL FROM:<>", "250"),
            ("RSET", "250"),
            ("mail from:<a@b.c> SIZE=3", "250"),
            ("RCPT TO:", "501"),
            ("NOOP", "250"),
            ("VRFY x", "252"),
            ("QUIT", "221"),
        ];
        talk(port, &impolite).await;
        let polite = [
            ("mail from:<a@b.c>", "250"),
            ("rcpt to:<b@c.d>", "250"),
            ("DATA", "354"),
            ("Subject: x\r\n\r\ntwo\r\n..lines\r\n.", "250"),
        ];
        talk(port, &polite).await;
    };
    let steps = steps.replace("PORT", &port.to_string());
    let (records, ()) = tokio::join!(run_steps(&steps), talking);
    passed(&records);
}

/// A server that answers each line by the first rule whose beginning it has, else with `250 ok`.
async fn server(rules: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    tasks.clone().spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tasks.spawn(async move {
                let mut client = BufReader::new(client);
                let mut line = String::new();
                let mut reply = "220 hello";
                while client.write_all(format!("{reply}\r\n").as_bytes()).await.is_ok() {
                    line.clear();
                    if client.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                    while reply.starts_with("354") && line.trim_end() != "." {
                        line.clear();
                        if client.read_line(&mut line).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let rule = rules.iter().find(|(start, _)| line.starts_with(start));
                    reply =
                        rule.map_or(if line.starts_with("DATA") { "354 go on" } else { "250 ok" }, |(_, reply)| reply);
                }
            });
        }
    });
    address.to_string()
}

#[tokio::test]
async fn refusals_of_a_server_are_told_with_the_cause_and_without_the_password() {
    let login = server(&[
        ("EHLO", "250-x\r\n250 AUTH LOGIN"),
        ("AUTH", "334 dXNlcg=="),
        ("bWU=", "334 cGFzcw=="),
        ("c2VjcmV0", "235 ok"),
    ]);
    let wrong = server(&[("EHLO", "250-x\r\n250 AUTH PLAIN"), ("AUTH", "535 5.7.8 no")]);
    let no_way = server(&[("EHLO", "250-x\r\n250 AUTH CRAM-MD5")]);
    let old = server(&[("EHLO", "502 what")]);
    let picky = server(&[("RCPT TO:<a@", "550 5.1.1 nobody of that name"), (".", "250 queued as 7")]);
    let full = server(&[(".", "452 4.2.2 full")]);
    let small = server(&[("EHLO", "250-x\r\n250 SIZE 10")]);
    let steps = format!(
        r#"
- {{id: login, action: mail_send, config: {{url: "smtp://me:secret@{}", from: s@x.y, to: a@x.y}}}}
- {{id: wrong_password, action: mail_send, config: {{url: "smtp://me:wr0ng@{}", from: s@x.y, to: a@x.y}}}}
- {{id: no_way, action: mail_send, config: {{url: "smtp://me:secret@{}", from: s@x.y, to: a@x.y}}}}
- {{id: old, action: mail_send, config: {{url: "smtp://{old}", from: s@x.y, to: a@x.y}}}}
- {{id: some, action: mail_send, config: {{url: "smtp://{picky}", from: s@x.y, to: [a@x.y, b@x.y]}}, assert: ["accepted == ['b@x.y']", "rejected[0].address == 'a@x.y'", "rejected[0].reply contains 'nobody of that name'", "reply == '250 queued as 7'"]}}
- {{id: none, action: mail_send, config: {{url: "smtp://{picky}", from: s@x.y, to: a@x.y}}}}
- {{id: full, action: mail_send, config: {{url: "smtp://{}", from: s@x.y, to: a@x.y}}}}
- {{id: small, action: mail_send, config: {{url: "smtp://{}", from: s@x.y, to: a@x.y}}}}
- {{id: no_tls, action: mail_send, config: {{url: "smtp://{picky}", starttls: always, from: s@x.y, to: a@x.y}}}}
- {{id: letters, action: mail_send, config: {{url: "smtp://{picky}", from: s@x.y, to: "ä@x.y"}}}}
"#,
        login.await,
        wrong.await,
        no_way.await,
        full.await,
        small.await,
        old = old.await,
        picky = picky.await,
    );
    let records = run_steps(&steps).await;
    let expected = [
        (ErrorKind::Internal, ""),
        (ErrorKind::Connection, "535 5.7.8 no"),
        (ErrorKind::Protocol, "it offers neither AUTH PLAIN nor AUTH LOGIN, only `CRAM-MD5`"),
        (ErrorKind::Internal, ""),
        (ErrorKind::Internal, ""),
        (ErrorKind::Protocol, "no recipient is accepted: `a@x.y`: 550 5.1.1 nobody of that name"),
        (ErrorKind::Protocol, "452 4.2.2 full"),
        (ErrorKind::Protocol, "and the server takes 10 at most"),
        (ErrorKind::Protocol, "it does not offer STARTTLS"),
        (ErrorKind::Protocol, "SMTPUTF8"),
    ];
    each(&records, &expected);
}

#[tokio::test]
async fn what_cannot_be_a_mail_is_refused_before_anybody_is_asked() {
    for (config, part) in [
        ("from: nobody, to: a@b.c", "`from`: `nobody` is no address such as"),
        ("from: a@b.c, to: 'x@y.z>'", "`to`: `x@y.z>` is no address"),
        ("from: a@b.c, to: []", "`to` names nobody"),
        ("from: a@b.c, to: a@b.c, subject: \"a\\r\\nBcc: x@y.z\"", "`subject` takes one line"),
        ("from: a@b.c, to: a@b.c, headers: {X: \"a\\nb\"}", "`headers` takes one line"),
        ("from: a@b.c, to: a@b.c, headers: {'X Y': a}", "`headers`: `X Y` is no name"),
        ("from: a@b.c, to: a@b.c, attachments: [{filename: x}]", "each takes `path` or `content`"),
        ("from: a@b.c, to: a@b.c, url: 'http://x'", "it takes `smtp://` or `smtps://`"),
    ] {
        let records = run_steps(&format!("- {{action: mail_send, config: {{{config}}}}}\n")).await;
        fails(&records[0], ErrorKind::Config, part);
    }
}

#[tokio::test]
async fn connections_can_be_secure_from_the_start_or_later() {
    let plain = server(&[("EHLO", "250-x\r\n250 AUTH PLAIN"), ("AUTH PLAIN AG1lAHNlY3JldA==", "235 ok")]).await;
    let at_once = in_front_of(plain.clone(), Start::AtOnce).await;
    let later = in_front_of(plain, Start::AfterStartTls).await;
    let authority = Authority::new();
    let plain = server(&[("EHLO", "250-x\r\n250 AUTH PLAIN"), ("AUTH PLAIN AG1lAHNlY3JldA==", "235 ok")]).await;
    let own = in_front_with(plain, Start::AfterStartTls, authority.server("localhost", true)).await.port();
    let client = authority.issue("client");
    let (ca, certificate, key) = (authority.pem(), client.certificate, client.key);
    let steps = format!(
        r#"
- {{action: mail_send, config: {{url: "smtps://me:secret@{at_once}", verify_tls: false, from: s@x.y, to: a@x.y}}}}
- {{action: mail_send, config: {{url: "smtp://me:secret@{later}", verify_tls: false, from: s@x.y, to: a@x.y}}}}
- {{action: mail_send, config: {{url: "smtp://me:secret@localhost:{own}", ca_cert: {ca:?}, client_cert: {certificate:?}, client_key: {key:?}, from: s@x.y, to: a@x.y}}}}
- {{id: stranger, action: mail_send, config: {{url: "smtp://me:secret@{later}", from: s@x.y, to: a@x.y}}}}
- {{id: other, action: mail_send, config: {{url: "smtp://me:secret@127.0.0.1:{own}", ca_cert: {ca:?}, from: s@x.y, to: a@x.y}}}}
- {{id: without, action: mail_send, config: {{url: "smtp://me:secret@localhost:{own}", ca_cert: {ca:?}, from: s@x.y, to: a@x.y}}}}
"#
    );
    let records = run_steps(&steps).await;
    passed(&records[..3]);
    fails(&records[3], ErrorKind::Connection, "the TLS handshake with `127.0.0.1` failed");
    fails(&records[4], ErrorKind::Connection, "the TLS handshake with `127.0.0.1` failed");
    fails(&records[5], ErrorKind::Connection, &format!("localhost:{own}"));
}

#[tokio::test]
async fn servers_that_are_away_deaf_or_strange_are_told() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closes = says(b"220 hi\r\n", b"").await;
    let strange = says(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"").await;
    let busy = says(b"421 too busy\r\n", b"").await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (silent.local_addr().unwrap(), silent);
    for (address, kind, part) in [
        (unused, ErrorKind::Connection, unused.to_string()),
        (closes, ErrorKind::Connection, "the server closed the connection".to_owned()),
        (strange, ErrorKind::Connection, "`HTTP/1.1 400 Bad Request`, which is not SMTP".to_owned()),
        (busy, ErrorKind::Connection, "it does not take mail: 421 too busy".to_owned()),
        (silent.0, ErrorKind::Timeout, "not done within 300ms".to_owned()),
    ] {
        let limit = if kind == ErrorKind::Timeout { "300ms" } else { "20s" };
        let config = format!("url: 'smtp://me:secret@{address}', from: s@x.y, to: a@x.y, timeout: {limit}");
        fails(&run_steps(&format!("- {{action: mail_send, config: {{{config}}}}}\n")).await[0], kind, &part);
    }
    let policy = NetPolicy::server(&[unused]);
    let steps = format!("- {{action: mail_send, config: {{url: 'smtp://{unused}', from: s@x.y, to: a@x.y}}}}\n");
    let records = run_steps_in(&steps, Setting { policy, ..Setting::default() }).await;
    fails(&records[0], ErrorKind::Policy, "is denied by the network policy");
}

#[tokio::test]
async fn waiting_ends_when_the_run_is_cancelled() {
    let steps = "- {action: mail_catcher}\n- {id: wait, action: mail_wait, config: {timeout: 10m}}\n";
    let setting = Setting { cancel_at: Some("wait"), ..Setting::default() };
    let running = tokio::time::timeout(std::time::Duration::from_secs(10), run_steps_in(steps, setting));
    assert_eq!(running.await.unwrap()[1].status, StepStatus::Cancelled);
}
