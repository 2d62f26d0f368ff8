//! Mock servers in flows. Each `mocks/*.yaml` is a list of steps; the `.expect` file beside it says how each one ends.

use std::fmt::Write as _;
use std::path::Path;

use testmesh_runner::record::StepRecord;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::run::{Setting, run_steps, run_steps_in};

/// `id status: message`, a line for each step; ports are called PORT.
pub(crate) fn told(records: &[StepRecord]) -> String {
    let mut text = String::new();
    for record in records {
        let status = serde_json::to_value(record.status).unwrap();
        let message = record.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
        writeln!(text, "{} {}{message}", record.id, status.as_str().unwrap()).unwrap();
    }
    ports(&text).into_iter().fold(text.clone(), |text, port| text.replace(&format!(":{port}"), ":PORT"))
}

/// Every number behind `127.0.0.1:`.
fn ports(text: &str) -> Vec<String> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split("127.0.0.1:").skip(1).map(digits).filter(|port| !port.is_empty()).collect()
}

/// Runs every case of a folder.
pub(crate) async fn check_folder(name: &str, least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name);
    let (mut checked, mut wrong) = (0, String::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        checked += 1;
        let steps = std::fs::read_to_string(&path).unwrap();
        let expected = std::fs::read_to_string(path.with_extension("expect")).unwrap_or_default();
        let found = told(&run_steps(&steps).await);
        if found != expected {
            write!(wrong, "{}:\n{found}\ninstead of\n{expected}\n", path.display()).unwrap();
        }
    }
    assert!(checked >= least, "only {checked} cases");
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn every_case_ends_as_it_should() {
    check_folder("mocks", 5).await;
}

fn port(records: &[StepRecord], id: &str) -> u16 {
    let record = records.iter().find(|record| record.id == id).unwrap();
    let response = serde_json::to_value(record).unwrap()["response"].clone();
    u16::try_from(response["port"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn nothing_listens_any_more_when_the_run_is_over() {
    let mock = "- {id: m, action: mock_server_start, config: {endpoints: [{path: /, response: {fault: hang}}]}}\n";
    for (rest, cancel_at, status) in [
        ("- {id: end, action: log, config: {message: a}}", None, "passed"),
        ("- {id: end, action: assert, config: {assertions: ['m.port < 0']}}", None, "failed"),
        ("- {id: end, action: http_request, timeout: 50ms, config: {url: '${m.base_url}/'}}", None, "error"),
        ("- {id: end, action: http_request, config: {url: '${m.base_url}/'}}", Some("end"), "cancelled"),
        ("- {id: end, action: mock_server_verify, config: {path: /a, within: 1h}}", Some("end"), "cancelled"),
    ] {
        let setting = Setting { cancel_at, ..Setting::default() };
        let records = run_steps_in(&format!("{mock}{rest}"), setting).await;
        let last = told(&records[1..]);
        assert!(last.starts_with(&format!("end {status}")), "{rest}: {last}");
        let port = port(&records, "m");
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "{rest}: port {port} is still open");
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_takes_its_mock_servers_along() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let steps = format!(
        "- {{id: m, action: mock_server_start, config: {{port: {unused}, endpoints: [{{path: /, response: {{fault: hang}}}}]}}}}\n\
         - {{action: delay, config: {{duration: 1h}}}}"
    );
    let mut stream = {
        let running = run_steps(&steps);
        tokio::pin!(running);
        let asking = async {
            loop {
                if let Ok(stream) = TcpStream::connect(("127.0.0.1", unused)).await {
                    return stream;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = &mut running => panic!("the delay is longer than the test"),
            stream = asking => stream,
        }
    };
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // The connection ends although its answer never comes.
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    while TcpStream::connect(("127.0.0.1", unused)).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_may_come_while_its_verification_waits() {
    let records = run_steps(
        "- {id: m, action: mock_server_start, config: {endpoints: [{path: /a}]}}\n\
         - id: both\n  action: parallel\n  config:\n    branches:\n\
        \x20     - {steps: [{id: v, action: mock_server_verify, config: {path: /a, within: 20s}}]}\n\
        \x20     - {steps: [{action: delay, config: {duration: 50ms}}, {action: http_request, config: {url: '${m.base_url}/a'}}]}\n\
         - {id: late, action: mock_server_verify, config: {path: /b, within: 50ms}}",
    )
    .await;
    let found = told(&records);
    assert!(found.contains("v passed") && found.contains("both passed"), "{found}");
    assert!(found.contains("late failed: mock server `m`: expected any method /b at least 1 time, got 0"), "{found}");
}

/// Runs a mock server with this endpoint while `requests` are sent to it over one connection; the answers, and how the run
/// ended.
async fn talk(endpoint: &str, requests: &[&[u8]]) -> (String, String) {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let steps = format!(
        "- {{id: m, action: mock_server_start, config: {{port: {unused}, endpoints: [{endpoint}]}}}}\n\
         - {{id: v, action: mock_server_verify, config: {{at_least: 0, expect: [{{times: {}}}], within: 20s}}}}\n\
         - {{id: s, action: mock_server_stop}}",
        requests.len()
    );
    let asking = async {
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", unused)).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        for request in requests {
            stream.write_all(request).await.unwrap();
        }
        let mut answers = Vec::new();
        // The end of the run ends the connection.
        let _ = stream.read_to_end(&mut answers).await;
        String::from_utf8_lossy(&answers).into_owned()
    };
    let (records, answers) = tokio::join!(run_steps(&steps), asking);
    (told(&records), answers)
}

#[tokio::test]
async fn a_mock_answers_what_other_clients_send_and_keeps_their_connection() {
    let endpoint = "{path: /a, response: {body: '{{body.x}}'}}";
    let (run, answers) = talk(
        endpoint,
        &[
            b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n8\r\n{\"x\":\"y\"\r\n1\r\n}\r\n0\r\n\r\n",
            b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 3\r\n\r\nx=z",
        ],
    )
    .await;
    assert_eq!(run, "m passed\nv passed\ns passed\n");
    assert!(answers.contains("\r\n\r\ny"), "{answers}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let size = (10 << 20) + 1;
    let mut request = format!("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n").into_bytes();
    request.resize(request.len() + size, b'x');
    let (run, answers) = talk("{path: /a}", &[&request]).await;
    assert_eq!(run, "m passed\nv passed\ns passed\n");
    assert!(answers.starts_with("HTTP/1.1 413 ") && answers.contains("at most 10485760 bytes"), "{answers}");
}
