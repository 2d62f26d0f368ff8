//! `http_request` in flows, against a real service.

use serde_json::{Value as Json, json};
use testmesh_runner::files::Files;
use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus};
use testmesh_shared::net::NetPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::run::{Setting, run_steps, run_steps_in};
use crate::target::Target;

/// Every step of the flow holds.
async fn holds(target: &Target, steps: &str) -> Vec<StepRecord> {
    let records = run_steps(&target.steps(steps)).await;
    for record in &records {
        assert_eq!(record.status, StepStatus::Passed, "{record:#?}");
    }
    records
}

/// The one step of the flow is in error.
async fn error_of(steps: &str, setting: Setting) -> (ErrorKind, String) {
    let records = run_steps_in(steps, setting).await;
    let [record] = records.as_slice() else { panic!("{records:#?}") };
    assert_eq!(record.status, StepStatus::Error, "{record:#?}");
    let error = record.error.clone().unwrap();
    (error.kind, error.message)
}

fn response(record: &StepRecord) -> &Json {
    record.response.as_ref().unwrap()
}

/// Sends one request to the echo and gives what it saw.
async fn echoed(target: &Target, config: &str) -> Json {
    let records = holds(target, &format!("- action: http_request\n  config: {{url: BASE/echo, {config}}}")).await;
    response(&records[0])["body"].clone()
}

#[tokio::test]
async fn bodies_are_encoded_by_their_kind() {
    let target = Target::start().await;
    let (json, form) = (json!("application/json"), json!("application/x-www-form-urlencoded"));
    for (config, body, content_type) in [
        ("body: {a: 1, b: [true, null]}", r#"{"a":1,"b":[true,null]}"#, json.clone()),
        ("body: null", "null", json.clone()),
        ("body: [1, 2]", "[1,2]", json.clone()),
        ("body: '{\"raw\": 1}'", "{\"raw\": 1}", Json::Null),
        ("json: text", "\"text\"", json.clone()),
        ("method: POST", "", Json::Null),
        ("form: {a: 'x y', b: [1, 2]}", "a=x+y&b=1&b=2", form.clone()),
        ("form_data: {a: ü}", "a=%C3%BC", form.clone()),
        ("body: {a: 1}, headers: {content-type: application/x-www-form-urlencoded}", "a=1", form),
        ("body: {a: 1}, headers: {Content-Type: application/a+json}", "{\"a\":1}", json!("application/a+json")),
        (
            "graphql: {query: '{ me }', variables: {id: 7}, operation_name: Q}",
            r#"{"query":"{ me }","variables":{"id":7},"operationName":"Q"}"#,
            json.clone(),
        ),
        ("graphql: '{ me }'", r#"{"query":"{ me }"}"#, json),
    ] {
        let seen = echoed(&target, config).await;
        assert_eq!(seen["method"], "POST", "{config}");
        assert_eq!(seen["body"], body, "{config}");
        assert_eq!(seen["headers"]["content-type"], content_type, "{config}");
    }
    assert_eq!(echoed(&target, "params: {}").await["method"], "GET");
}

#[tokio::test]
async fn parameters_headers_and_cookies_reach_the_server() {
    let target = Target::start().await;
    let seen = echoed(&target, "params: {q: 'a b', tag: [x, y], none: null}").await;
    assert_eq!(seen["query"], "q=a+b&tag=x&tag=y");
    let seen = echoed(&target, "query_params: {n: 1}, headers: {X-One: 1, Accept: text/plain, User-Agent: null}").await;
    assert_eq!(seen["query"], "n=1");
    assert_eq!(seen["headers"]["x-one"], "1");
    assert_eq!(seen["headers"]["accept"], "text/plain");
    assert_eq!(seen["headers"]["user-agent"], Json::Null);
    let traceparent = seen["headers"]["traceparent"].as_str().unwrap().to_owned();
    assert!(traceparent.starts_with("00-0123456789abcdef0123456789abcdef-"), "{traceparent}");
    let seen = echoed(&target, "cookies: {a: 1, b: two}, headers: {traceparent: mine}").await;
    assert_eq!(seen["headers"]["cookie"], "a=1; b=two");
    assert_eq!(seen["headers"]["traceparent"], "mine");
}

#[tokio::test]
async fn a_cookie_that_is_set_is_sent_back_for_the_rest_of_the_run() {
    let target = Target::start().await;
    let steps = r#"
- action: http_request
  config: {url: BASE/set-cookie}
  assert: [cookies.session == "abc"]
- action: http_request
  config: {url: BASE/echo, cookies: {mine: 1}}
  assert: ['body.headers.cookie == "mine=1; session=abc"']
- action: http_request
  config: {url: BASE/echo, cookies: false}
  assert: [body.headers.cookie is null]
"#;
    holds(&target, steps).await;
}

#[tokio::test]
async fn multipart_sends_text_and_files() {
    let target = Target::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.csv"), "a,b\n1,2\n").unwrap();
    let files = Files { base: folder.path().into(), root: Some(folder.path().into()), enabled: true };
    let steps = target.steps(
        "- action: http_request\n  config:\n    url: BASE/echo\n    multipart:\n      title: A \"title\"\n      rows: {file: rows.csv}\n      note: {value: '{}', filename: 'n\"1.json', content_type: application/json}\n",
    );
    let records = run_steps_in(&steps, Setting { files, ..Setting::default() }).await;
    let seen = &response(&records[0])["body"];
    let content_type = seen["headers"]["content-type"].as_str().unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let expect = [
        "Content-Disposition: form-data; name=\"title\"\r\n\r\nA \"title\"",
        "Content-Disposition: form-data; name=\"rows\"; filename=\"rows.csv\"\r\nContent-Type: text/csv\r\n\r\na,b\n1,2\n",
        "Content-Disposition: form-data; name=\"note\"; filename=\"n%221.json\"\r\nContent-Type: application/json\r\n\r\n{}",
    ];
    let parts = expect.join(&format!("\r\n--{boundary}\r\n"));
    assert_eq!(seen["body"], format!("--{boundary}\r\n{parts}\r\n--{boundary}--\r\n"));
    let (kind, message) = error_of(&steps, Setting::default()).await;
    assert_eq!(kind, ErrorKind::Policy, "{message}");
}

#[tokio::test]
async fn each_kind_of_authentication_reaches_the_server_and_stays_out_of_the_record() {
    let target = Target::start().await;
    for (auth, name, sent, shown) in [
        ("basic: {username: ada, password: pa:ss}", "authorization", "Basic YWRhOnBhOnNz", "Basic ***"),
        ("bearer: t0ken", "authorization", "Bearer t0ken", "Bearer ***"),
        ("bearer: {token: t0ken}", "authorization", "Bearer t0ken", "Bearer ***"),
        ("api_key: {value: k3y}", "x-api-key", "k3y", "***"),
        ("api_key: {name: X-Shop, value: k3y, in: header}", "x-shop", "k3y", "***"),
    ] {
        let steps = format!("- action: http_request\n  config: {{url: BASE/echo, auth: {{{auth}}}}}");
        let records = holds(&target, &steps).await;
        assert_eq!(response(&records[0])["body"]["headers"][name], sent, "{auth}");
        assert_eq!(records[0].request.as_ref().unwrap()["headers"][name], shown, "{auth}");
    }
    let steps =
        "- action: http_request\n  config: {url: 'BASE/echo?a=1', auth: {api_key: {name: key, value: k3y, in: query}}}";
    let records = holds(&target, steps).await;
    assert_eq!(response(&records[0])["body"]["query"], "a=1&key=k3y");
    let shown = records[0].request.as_ref().unwrap()["url"].as_str().unwrap();
    assert!(!shown.contains("k3y") && shown.contains("a=1"), "{shown}");
    let with_user =
        target.steps("- action: http_request\n  config: {url: BASE/echo}").replace("://", "://ada:pa%3Ass@");
    let records = run_steps(&with_user).await;
    assert_eq!(response(&records[0])["body"]["headers"]["authorization"], "Basic YWRhOnBhOnNz");
    assert!(!records[0].request.as_ref().unwrap().to_string().contains("pa%3Ass"));
}

#[tokio::test]
async fn a_digest_challenge_is_answered() {
    let target = Target::start().await;
    let steps = r#"
- action: http_request
  config: {url: 'BASE/digest?x=1', auth: {digest: {username: ada, password: s3cret}}}
  assert: [status == 200, body == "welcome"]
- action: http_request
  config: {url: BASE/digest, auth: {digest: {username: ada, password: wrong}}}
  assert: [status == 401]
"#;
    holds(&target, steps).await;
}

#[tokio::test]
async fn an_oauth_token_is_fetched_once_for_a_run() {
    let target = Target::start().await;
    let step = "- action: http_request\n  config:\n    url: BASE/echo\n    auth:\n      oauth2: {token_url: BASE/token, client_id: shop, client_secret: SECRET, scope: a b}\n";
    let steps = step.replace("SECRET", "top secret").repeat(3);
    for record in holds(&target, &steps).await {
        let expect = "Bearer t1:grant_type=client_credentials&scope=a+b";
        assert_eq!(response(&record)["body"]["headers"]["authorization"], expect);
    }
    assert_eq!(*target.tokens_issued.lock(), 1);
    let (kind, message) = error_of(&target.steps(&step.replace("SECRET", "wrong")), Setting::default()).await;
    assert_eq!(kind, ErrorKind::Protocol);
    assert!(message.ends_with("it answered 401: invalid_client: who are you"), "{message}");
    assert!(!message.contains("wrong"), "{message}");
}

#[tokio::test]
async fn redirects_are_followed_within_their_limit() {
    let target = Target::start().await;
    let steps = r#"
- action: http_request
  config: {url: BASE/redirect/302, body: {a: 1}}
  assert:
    - body.method == "GET"
    - body.path == "/echo"
    - body.body == ""
    - result.url == "BASE/echo"
    - len(redirects) == 1 && redirects[0].status == 302
- action: http_request
  config: {url: BASE/redirect/307, body: {a: 1}}
  assert: [body.method == "POST", 'body.body == "{\"a\":1}"']
- action: http_request
  config: {url: BASE/redirect/301, follow_redirects: false}
  assert: [status == 301, headers.Location == "/echo"]
"#;
    holds(&target, steps).await;
    let endless = target.steps("- action: http_request\n  config: {url: BASE/loop, max_redirects: 3}");
    let (kind, message) = error_of(&endless, Setting::default()).await;
    assert_eq!(kind, ErrorKind::Protocol);
    assert!(message.contains("more than 3 redirects (`max_redirects`)"), "{message}");
}

#[tokio::test]
async fn another_origin_gets_no_credentials_and_the_policy_is_asked_again() {
    let (first, second) = (Target::start().await, Target::start().await);
    let to = second.address;
    let steps = format!(
        "- action: http_request\n  config: {{url: 'BASE/to?http://{to}/echo', auth: {{bearer: t0ken}}, cookies: {{a: 1}}, headers: {{X-Kept: 1}}}}"
    );
    let seen = response(&holds(&first, &steps).await[0])["body"].clone();
    assert_eq!(seen["headers"]["host"], to.to_string());
    assert_eq!(seen["headers"]["authorization"], Json::Null);
    assert_eq!(seen["headers"]["cookie"], Json::Null);
    assert_eq!(seen["headers"]["x-kept"], "1");
    let policy = NetPolicy::server(&[to]);
    let (kind, message) = error_of(&first.steps(&steps), Setting { policy, ..Setting::default() }).await;
    assert_eq!(kind, ErrorKind::Policy);
    assert!(message.contains("this server's own listener"), "{message}");
}

#[tokio::test]
async fn the_body_is_read_by_its_type_unless_told_otherwise() {
    let target = Target::start().await;
    for (sent, content_type, read_as, holds_that) in [
        ("'{\"a\": 9007199254740993}'", "application/json", "auto", "body.a == 9007199254740993"),
        ("'{\"a\": 1}'", "text/plain", "auto", "body is string"),
        ("'{\"a\": 1}'", "text/plain", "json", "body.a == 1"),
        ("'{\"a\": 1}'", "application/json", "text", "body is string"),
        ("not json", "application/json", "auto", "body == \"not json\""),
        ("text", "text/plain", "bytes", "size == 4"),
        ("''", "application/json", "auto", "body is null && body_text == \"\""),
    ] {
        let steps = format!(
            "- action: http_request\n  config: {{url: BASE/typed, method: POST, body: {sent}, headers: {{x-type: {content_type}}}, as: {read_as}}}\n  assert: ['{holds_that}']"
        );
        holds(&target, &steps).await;
    }
    let steps =
        "- action: http_request\n  config: {url: BASE/typed, body: nope, headers: {x-type: text/plain}, as: json}";
    let (kind, message) = error_of(&target.steps(steps), Setting::default()).await;
    assert_eq!(kind, ErrorKind::Protocol);
    assert!(message.contains("is not JSON"), "{message}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_config_errors_and_name_the_key() {
    let target = Target::start().await;
    for (config, part) in [
        ("url: '${RANDOM_INT}'", "`url` takes a URL that starts with `http://` or `https://`"),
        ("url: BASE/x, body: 1, form: {a: 1}", "one body, but `body` and `form`"),
        ("url: BASE/x, headers: {'a b': 1}", "header `a b`"),
        ("url: BASE/x, headers: {a: \"x\\ny\"}", "header `a`"),
        ("url: BASE/x, proxy: 'socks5://proxy.test'", "`proxy`"),
        ("url: 'SECURE', ca_cert: '-----BEGIN NOTHING'", "CA certificate"),
    ] {
        let config = config.replace("SECURE", &format!("https://{}/", target.address));
        let steps = target.steps(&format!("- action: http_request\n  config: {{{config}}}"));
        let (kind, message) = error_of(&steps, Setting::default()).await;
        assert_eq!(kind, ErrorKind::Config, "{config}: {message}");
        assert!(message.contains(part), "{config}: {message}");
    }
}

#[tokio::test]
async fn a_body_over_max_body_is_refused_by_name() {
    let target = Target::start().await;
    let steps = target.steps("- action: http_request\n  config: {url: BASE/echo, max_body: 10}");
    let (kind, message) = error_of(&steps, Setting::default()).await;
    assert_eq!(kind, ErrorKind::Protocol);
    assert!(message.ends_with("the answer's body is larger than 10 bytes (`max_body`)"), "{message}");
}

#[tokio::test]
async fn errors_name_method_and_url_without_the_password() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let steps = format!("- action: http_request\n  config: {{method: PUT, url: 'http://ada:s3cret@{unused}/x'}}");
    let (kind, message) = error_of(&steps, Setting::default()).await;
    assert_eq!(kind, ErrorKind::Connection);
    let expect = format!("PUT http://{unused}/x: cannot connect to `{unused}`: Connection refused (os error 111)");
    assert_eq!(message, expect);
}

#[tokio::test]
async fn a_time_out_closes_the_connection_and_the_request_is_still_known() {
    for (config, step) in [(", timeout: 200ms", ""), ("", "\n  timeout: 200ms")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let steps = format!("- action: http_request\n  config: {{url: 'http://{address}/'{config}}}{step}");
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The head promises a body that never comes; then only the client's hanging up ends this.
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow").await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        };
        let (records, ()) = tokio::join!(run_steps_in(&steps, Setting::default()), server);
        assert_eq!(records[0].error.as_ref().map(|error| error.kind), Some(ErrorKind::Timeout));
        let request = records[0].request.as_ref().expect("what was asked is known");
        assert_eq!(request["url"], format!("http://{address}/"));
    }
}

#[tokio::test]
async fn http_2_is_spoken_when_asked_for() {
    let target = Target::start().await;
    let steps = "- action: http_request\n  config: {url: BASE/echo, http_version: 2}\n  assert: [http_version == \"2\"]\n- action: http_request\n  config: {url: BASE/echo, http_version: 1.1}\n  assert: [http_version == \"1.1\"]";
    holds(&target, steps).await;
}
