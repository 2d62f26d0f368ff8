//! `grpc` in flows, against a real server: every kind of call, every way to describe it, and what is told when it fails.

mod shop;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use testmesh_runner::files::Files;
use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus};
use testmesh_shared::net::NetPolicy;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};
use tokio_util::sync::CancellationToken;

use self::shop::{PROTO, Reflects, Shop};
use crate::run::{Setting, run_steps, run_steps_in};
use crate::target::Target;

/// A folder with the service's description in it.
fn folder() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("protos")).unwrap();
    std::fs::write(folder.path().join("protos/shop.proto"), PROTO).unwrap();
    let chained = "syntax = \"proto3\"; package shop.v1; import \"protos/shop.proto\";\n\
                   service Other { rpc Echo(Product) returns (Product); }";
    std::fs::write(folder.path().join("other.proto"), chained).unwrap();
    std::fs::write(folder.path().join("wrong.proto"), "syntax = \"proto3\";\nmessage A { B b = 1; }\n").unwrap();
    std::fs::write(folder.path().join("shop.binpb"), shop::descriptor_set()).unwrap();
    std::fs::write(folder.path().join("differs.proto"), PROTO.replace("int64 stock = 2", "string stock = 2")).unwrap();
    let files = Files { base: folder.path().into(), root: Some(folder.path().into()), enabled: true };
    (folder, files)
}

fn passed(records: &[StepRecord], what: &str) {
    for record in records {
        assert_eq!(record.status, StepStatus::Passed, "{what}: {record:#?}");
    }
}

const EVERY_KIND: &str = r#"
- action: grpc
  config:
    address: ADDRESS
    service: shop.v1.Shop
    method: Echo
    request: {product_id: p-1, stock: 9007199254740993, serial: "18446744073709551615", madeAt: "2026-01-02T03:04:05Z", kind: KIND_BOOK, part: {tags: [a, b]}}
    MORE: true
  assert:
    - status == "OK"
    - status_code == 0
    - body.product_id == "p-1"
    - body.stock == 9007199254740993
    - body.serial == 18446744073709551615
    - body.active == false
    - body.made_at == "2026-01-02T03:04:05Z"
    - body.kind == "KIND_BOOK"
    - body.part.tags == ["a", "b"]
    - len(body.tags) == 0
    - body.part.part is null
    - count == 1
    - metadata.traceparent contains "0123456789abcdef0123456789abcdef"
  output: {id: $.product_id}
- action: grpc_call
  config: {address: ADDRESS, method: shop.v1.Shop/List, message: '{"product_id": "${id}"}', MORE: true}
  assert: [count == 3, "messages[2].stock == 3", "messages[0].product_id == 'p-1'", body.stock == 1]
- action: grpc_stream
  config: {address: ADDRESS, service: shop.v1.Shop, method: Sum, requests: [{stock: 1}, {stock: 2}, {stock: 39}], MORE: true}
  assert: [body.stock == 42, body.serial == 3]
- action: grpc_stream
  config: {address: ADDRESS, service: shop.v1.Shop, method: Chat, request: [{stock: 1}, {stock: 2}], MORE: true}
  assert: [count == 2, "messages[0].stock == 2", "messages[1].stock == 4", status == "OK"]
- action: grpc
  config: {address: ADDRESS, service: shop.v1.Shop, method: Endless, max_messages: 5, MORE: true}
  assert: [count == 5, "messages[4].stock == 5", status == "CANCELLED"]
"#;

#[tokio::test]
async fn every_kind_of_call_is_made_however_it_is_described() {
    for (reflects, more) in [
        (Reflects::V1, "use_reflection: true"),
        (Reflects::V1Alpha, "use_reflection: true"),
        (Reflects::Not, "proto_file: protos/shop.proto"),
        (Reflects::Not, "proto_file: [protos/shop.proto, other.proto], import_paths: ['.']"),
        (Reflects::Not, "proto_file: shop.proto, import_paths: protos"),
        (Reflects::Not, "descriptor_set: shop.binpb"),
    ] {
        let shop = Shop::start(reflects).await;
        let (_folder, files) = folder();
        // The first step is written in lines, the others in one.
        let in_lines = more.replace(", ", "\n    ").replace("shop.proto\n    other", "shop.proto, other");
        let steps = EVERY_KIND
            .replacen("MORE: true", &in_lines, 1)
            .replace("MORE: true", more)
            .replace("ADDRESS", &shop.address.to_string());
        passed(&run_steps_in(&steps, Setting { files, ..Setting::default() }).await, more);
        assert_eq!(shop.watched.connections.load(Ordering::Relaxed), 1, "{more}");
    }
}

#[tokio::test]
async fn a_status_is_data_with_its_details_and_trailers() {
    let shop = Shop::start(Reflects::V1).await;
    let steps = r#"
- action: grpc
  config: {address: ADDRESS, service: shop.v1.Shop, method: Refuse, request: {product_id: lamp, stock: 3}}
  assert:
    - status == "NOT_FOUND"
    - status_code == 5
    - status_message == "there is no product `lamp`"
    - trailers["X-Shelf"] == "12"
    - details[0]["@type"] == "shop.v1.Product"
    - details[0].stock == 3
    - details[1]["@type"] == "shop.v1.Unknown"
    - body is null
    - count == 0
- action: grpc
  config: {address: ADDRESS, service: shop.v1.Shop, method: Fail, request: {stock: 3}}
  assert: [status == "RESOURCE_EXHAUSTED", status_message == "enough", count == 1, body.stock == 3]
- action: grpc
  config:
    address: ADDRESS
    service: shop.v1.Shop
    method: Echo
    deadline: 10s
    metadata: {X-User: ada, x-raw-bin: AAEC}
  assert: ["metadata['x-user'] == 'ada'", "metadata['x-timeout'] exists", "metadata['x-raw-bin'] exists"]
- action: grpc
  config: {address: ADDRESS, service: shop.v1.Shop, method: Sum, requests: []}
  assert: [status == "INVALID_ARGUMENT", status_message == "nothing to add up"]
"#;
    passed(&run_steps(&steps.replace("ADDRESS", &shop.address.to_string())).await, "status");
}

/// What is configured, the kind of the error, and a part of its message. Names in capitals stand for addresses.
const WRONG: &[(&str, ErrorKind, &str)] = &[
    (
        "address: SHOP, service: shop.v1.Shop, method: Ecko",
        ErrorKind::Config,
        "`shop.v1.Shop` has no method `Ecko`: did you mean `Echo`?",
    ),
    (
        "address: SHOP, service: shop.v1.Shopp, method: Echo",
        ErrorKind::Config,
        "the server has no service `shop.v1.Shopp`: did you mean `shop.v1.Shop`?",
    ),
    ("address: SHOP, service: Shop, method: Echo", ErrorKind::Config, "did you mean `shop.v1.Shop`?"),
    (
        "address: SHOP, service: a.B, method: shop.v1.Shop/Echo",
        ErrorKind::Config,
        "`service` is `a.B`, and `method` names `shop.v1.Shop`",
    ),
    ("address: SHOP, method: Echo", ErrorKind::Config, "`service` is missing"),
    (
        "address: SHOP, method: shop.v1.Shop/Echo, request: {produkt_id: x}",
        ErrorKind::Config,
        "`request`: `shop.v1.Product` has no field `produkt_id`: did you mean `product_id`?",
    ),
    (
        "address: SHOP, method: shop.v1.Shop/Echo, request: {part: {stock: many}}",
        ErrorKind::Config,
        "`request.part.stock` takes an integer of 64 bits, got the string \"many\"",
    ),
    (
        "address: SHOP, method: shop.v1.Shop/Sum, requests: [{}, {kind: BOOK}]",
        ErrorKind::Config,
        "`requests[1].kind`: `shop.v1.Kind` has no value `BOOK`",
    ),
    (
        "address: SHOP, method: shop.v1.Shop/Echo, requests: [{}, {}]",
        ErrorKind::Config,
        "`shop.v1.Shop.Echo` takes one message, not 2 (`requests`)",
    ),
    ("address: SHOP, method: shop.v1.Shop/Echo, request: '{'", ErrorKind::Config, "`request` is text, but no JSON"),
    (
        "address: SHOP, method: shop.v1.Shop/Echo, metadata: {grpc-timeout: 1S}",
        ErrorKind::Config,
        "`grpc-` are the protocol's own",
    ),
    (
        "address: SILENT, method: shop.v1.Shop/Echo",
        ErrorKind::Config,
        "the server does not offer reflection: name a `proto_file`",
    ),
    ("address: SILENT, method: shop.v1.Shop/Echo, use_reflection: false", ErrorKind::Config, "without reflection"),
    (
        "address: SILENT, method: shop.v1.Other/Echo, proto_file: protos/shop.proto",
        ErrorKind::Config,
        "`protos/shop.proto` describes no service `shop.v1.Other`",
    ),
    (
        "address: SILENT, method: shop.v1.Shop/Echo, proto_file: wrong.proto",
        ErrorKind::Config,
        "`wrong.proto`, line 2, column 13: ",
    ),
    (
        "address: SILENT, method: shop.v1.Shop/Echo, proto_file: missing.proto",
        ErrorKind::Config,
        "cannot read `missing.proto`",
    ),
    ("address: SILENT, method: shop.v1.Shop/Echo, proto_file: ../x.proto", ErrorKind::Policy, "outside the folder"),
    (
        "address: SILENT, method: shop.v1.Shop/Echo, descriptor_set: other.proto",
        ErrorKind::Config,
        "`descriptor_set` is `other.proto`, which is none",
    ),
    (
        "address: SILENT, method: shop.v1.Shop/List, proto_file: differs.proto",
        ErrorKind::Protocol,
        "an answer that is no `shop.v1.Product`",
    ),
    (
        "address: WEB, method: shop.v1.Shop/Echo, proto_file: protos/shop.proto",
        ErrorKind::Protocol,
        "it answered HTTP 200 OK with the content type `application/json`",
    ),
    ("address: UNUSED, method: shop.v1.Shop/Echo", ErrorKind::Connection, "refused"),
    ("address: CLOSING, method: shop.v1.Shop/Echo", ErrorKind::Connection, "CLOSING"),
    (
        "address: 'nowhere', method: shop.v1.Shop/Echo",
        ErrorKind::Config,
        "`address` is `nowhere`: it takes `host:port`",
    ),
    ("address: SHOP, method: shop.v1.Shop/Echo, tls: true", ErrorKind::Connection, "TLS handshake"),
];

#[tokio::test]
async fn what_cannot_be_done_is_told_with_the_nearest_names() {
    let shop = Shop::start(Reflects::V1).await;
    let silent = Shop::start(Reflects::Not).await;
    let web = Target::start().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closing = closing().await;
    let (_folder, files) = folder();
    for (config, kind, expected) in WRONG {
        let place = |text: &str| {
            [
                ("SHOP", shop.address),
                ("SILENT", silent.address),
                ("WEB", web.address),
                ("UNUSED", unused),
                ("CLOSING", closing),
            ]
            .iter()
            .fold(text.to_owned(), |text, (name, address)| text.replace(name, &address.to_string()))
        };
        let steps = format!("- action: grpc\n  config: {{{}}}\n", place(config).replace("differs.proto", "DIFFERS"));
        let steps = steps.replace("DIFFERS", "differs.proto");
        let records = run_steps_in(&steps, Setting { files: files.clone(), ..Setting::default() }).await;
        let error = records[0].error.clone().unwrap_or_else(|| panic!("{config}: {records:#?}"));
        assert_eq!(error.kind, *kind, "{config}: {}", error.message);
        assert!(error.message.contains(&place(expected)), "{config}: {}", error.message);
    }
}

/// A server that hangs up on everybody as soon as they said something.
async fn closing() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    testmesh_shared::tasks::Tasks::new().spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 64]).await;
        }
    });
    address
}

#[tokio::test]
async fn what_the_policies_deny_is_not_called_and_not_read() {
    let shop = Shop::start(Reflects::V1).await;
    let address = shop.address;
    for (config, policy) in [
        (format!("address: '{address}', method: shop.v1.Shop/Echo"), NetPolicy::server(&[address])),
        (format!("address: '{address}', method: shop.v1.Shop/Echo, proto_file: shop.proto"), NetPolicy::open()),
        (format!("address: '{address}', method: shop.v1.Shop/Echo, descriptor_set: shop.binpb"), NetPolicy::open()),
        (format!("address: '{address}', method: shop.v1.Shop/Echo, tls: {{ca_cert: ca.pem}}"), NetPolicy::open()),
    ] {
        let setting = Setting { policy, files: Files::none(), ..Setting::default() };
        let records = run_steps_in(&format!("- action: grpc\n  config: {{{config}}}\n"), setting).await;
        assert_eq!(records[0].error.clone().unwrap().kind, ErrorKind::Policy, "{config}: {records:#?}");
    }
    assert_eq!(shop.watched.connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_server_is_believed_by_its_certificate() {
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(authority.signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![authority.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let shop = Shop::start_with(Reflects::V1, Some(TlsAcceptor::from(Arc::new(config)))).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), authority.cert.pem()).unwrap();
    let port = shop.address.port();
    for (address, tls, trouble) in [
        (format!("https://localhost:{port}"), "{ca_cert: ca.pem}", None),
        (format!("localhost:{port}"), "{ca_cert: ca.pem}", None),
        (format!("127.0.0.1:{port}"), "{ca_cert: ca.pem, server_name: localhost}", None),
        (format!("localhost:{port}"), "{verify: false}", None),
        (format!("localhost:{port}"), "true, verify_tls: false", None),
        (format!("localhost:{port}"), "true", Some("certificate")),
        (format!("127.0.0.1:{port}"), "{ca_cert: ca.pem}", Some("certificate")),
        (format!("localhost:{port}"), "false", Some("")),
    ] {
        let files = Files { base: folder.path().into(), root: None, enabled: true };
        let config = format!("{{address: '{address}', method: shop.v1.Shop/Echo, timeout: 5s, tls: {tls}}}");
        let steps = format!("- action: grpc\n  config: {config}\n  assert: [status == 'OK']\n");
        let records = run_steps_in(&steps, Setting { files, ..Setting::default() }).await;
        match trouble {
            None => passed(&records, &config),
            Some(expected) => {
                let error = records[0].error.clone().unwrap_or_else(|| panic!("{config}: {records:#?}"));
                assert_eq!(error.kind, ErrorKind::Connection, "{config}: {}", error.message);
                assert!(error.message.to_lowercase().contains(expected), "{config}: {}", error.message);
            }
        }
    }
}

#[tokio::test]
async fn time_is_up_as_a_status_or_as_an_error() {
    let shop = Shop::start(Reflects::V1).await;
    let steps = r#"
- action: grpc
  config: {address: ADDRESS, method: shop.v1.Shop/Wait, deadline: 100ms}
  assert: [status == "DEADLINE_EXCEEDED", status_code == 4, count == 0]
- action: grpc
  config: {address: ADDRESS, method: shop.v1.Shop/Wait, timeout: 100ms}
- action: grpc
  config: {address: ADDRESS, method: shop.v1.Shop/Wait}
  timeout: 100ms
- action: grpc
  config: {address: ADDRESS, method: shop.v1.Shop/Echo}
  assert: [status == "OK"]
"#;
    let records = run_steps(&steps.replace("ADDRESS", &shop.address.to_string())).await;
    assert_eq!(records[0].status, StepStatus::Passed, "{:#?}", records[0]);
    for record in &records[1..3] {
        let error = record.error.clone().unwrap();
        assert_eq!(error.kind, ErrorKind::Timeout, "{}", error.message);
    }
    assert!(records[1].error.clone().unwrap().message.contains(&shop.address.to_string()));
    assert_eq!(records[3].status, StepStatus::Passed, "the connection is still good: {:#?}", records[3]);
    assert_eq!(shop.watched.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_cancelled_run_ends_its_call_at_the_server() {
    let shop = Shop::start(Reflects::V1).await;
    let cancel = CancellationToken::new();
    let steps = format!("- action: grpc\n  config: {{address: '{}', method: shop.v1.Shop/Wait}}\n", shop.address);
    let running = run_steps_in(&steps, Setting { cancel: cancel.clone(), ..Setting::default() });
    let watching = async {
        shop.watched.waiting.notified().await;
        cancel.cancel();
        shop.watched.gone.notified().await;
    };
    let both = async { tokio::join!(running, watching).0 };
    let records = tokio::time::timeout(Duration::from_secs(20), both).await.expect("both end");
    assert_eq!(records[0].status, StepStatus::Cancelled, "{records:#?}");
}

#[tokio::test]
async fn large_messages_go_through_both_ways() {
    let shop = Shop::start(Reflects::V1).await;
    // More than either side takes before it is told that the other one has read.
    let steps = r#"
- action: log
  config: {message: made}
  output: {text: "${random_string(250000)}"}
- action: for_each
  config:
    items: 3
    steps:
      - action: grpc
        config: {address: ADDRESS, method: shop.v1.Shop/Echo, request: {tags: [TAGS], stock: 1}}
        assert: [status == "OK", len(body.tags) == 13, 'body.tags[0] == text', 'body.tags[12] == text', body.stock == 1]
"#;
    let steps = steps.replace("TAGS", &["\"${text}\""; 13].join(", "));
    passed(&run_steps(&steps.replace("ADDRESS", &shop.address.to_string())).await, "large");
    assert_eq!(shop.watched.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn many_calls_at_once_share_a_connection() {
    let shop = Shop::start(Reflects::V1).await;
    // More than a server allows at once: those that are too many wait for their turn.
    let steps = r#"
- action: for_each
  config:
    items: 500
    parallel: 500
    steps:
      - action: grpc
        config: {address: ADDRESS, method: shop.v1.Shop/Echo, request: {stock: "${index}"}}
        assert: [status == "OK", body.stock == index]
"#;
    let records = run_steps(&steps.replace("ADDRESS", &shop.address.to_string())).await;
    assert_eq!(records.len(), 501);
    passed(&records, "many");
    assert_eq!(shop.watched.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_record_shows_the_call_and_no_credentials() {
    let shop = Shop::start(Reflects::V1).await;
    let config = format!(
        "{{address: '{}', method: shop.v1.Shop/Echo, metadata: {{authorization: Bearer s3cret, x-user: ada}}}}",
        shop.address
    );
    let records = run_steps(&format!("- action: grpc\n  config: {config}\n")).await;
    let shown = format!("{:?}", records[0]);
    assert!(shown.contains("ada") && shown.contains("shop.v1.Shop") && !shown.contains("s3cret"), "{shown}");
}
