//! Calls between two processes: who gets through, what travels with a call, what is repeated and what never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use testmesh_shared::error::ErrorCode;
use testmesh_shared::internal::{
    Admitted, CallContext, CallError, Client, ClientLimits, Credentials, Dialer, Gate, GateLimits, InternalTls,
    InternalToken, RELEASE, Repeat, Stamped, Target, TlsPem, serve,
};
use testmesh_shared::tasks::Tasks;
use testmesh_shared::trace::TraceParent;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::http_tls::Authority;
use crate::server::{Server, read_request};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "another-secret-of-the-same-length";

fn by_token(text: &str) -> Credentials {
    Credentials::new(Some(InternalToken::parse(text).unwrap()), None).unwrap()
}

fn by_certificate(authority: &Authority, host: &str) -> Credentials {
    Credentials::new(None, Some(InternalTls::new(authority.pem_for(host)).unwrap())).unwrap()
}

fn client_of(url: &str, credentials: Credentials) -> Client {
    let target = Target::parse(url, &credentials).unwrap();
    Client::new(target, credentials, ClientLimits::default())
}

/// A process that others call; it stops with the test.
struct Process {
    port: u16,
    tasks: Tasks,
}

impl Process {
    async fn start(router: Router, credentials: Credentials) -> Self {
        Self::start_at(0, router, credentials).await
    }

    async fn start_at(port: u16, router: Router, credentials: Credentials) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let (port, tasks) = (listener.local_addr().unwrap().port(), Tasks::new());
        let stop = tasks.cancelled().clone();
        tasks.spawn(serve(listener, router, credentials, stop, Duration::from_secs(5)));
        Self { port, tasks }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn stop(self) {
        self.tasks.shutdown().await;
    }
}

fn echo() -> Router {
    Router::new().route("/echo", post(async |_: Extension<Admitted>, Json(body): Json<Value>| Json(body)))
}

async fn call(client: &Client, path: &str, repeat: Repeat) -> Result<Value, CallError> {
    client.call(path, &json!({"a": 1}), repeat).await.map(|answer| answer.value)
}

#[tokio::test]
async fn only_callers_with_a_known_token_get_through() {
    let server = by_token(&format!("{TOKEN}\n{OTHER}"));
    let gate = Gate::new(server.clone(), GateLimits::default());
    let process = Process::start(echo().layer(gate.http()), server.clone()).await;
    for token in [TOKEN, OTHER] {
        let client = client_of(&process.url(), by_token(token));
        assert_eq!(call(&client, "/echo", Repeat::Always).await.unwrap(), json!({"a": 1}));
    }
    let client = client_of(&process.url(), by_token("guessed-guessed-guessed-guessed-guessed"));
    let error = call(&client, "/echo", Repeat::Always).await.unwrap_err();
    assert!(matches!(error, CallError::Unauthorized { .. }), "{error:?}");
    assert!(error.to_string().contains("TESTMESH_INTERNAL_TOKEN_FILE"), "{error}");
    assert!(!format!("{error:?}{error}").contains("guessed"), "{error:?}");
    // The old token goes: whoever still sends it is a stranger from now on.
    server.token().unwrap().replace(OTHER).unwrap();
    let error = call(&client_of(&process.url(), by_token(TOKEN)), "/echo", Repeat::Always).await.unwrap_err();
    assert!(matches!(error, CallError::Unauthorized { .. }), "{error:?}");
    process.stop().await;
}

/// The token that goes out with a call.
fn sent(credentials: &Credentials) -> String {
    let mut headers = HeaderMap::new();
    credentials.stamp(&mut headers, None);
    headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned()
}

// Time is paused: a sleep ends as soon as everything else waits too.
#[tokio::test(start_paused = true)]
async fn files_that_change_are_read_again_and_broken_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [token, certificate, key, ca] = ["token", "tls.crt", "tls.key", "ca.crt"].map(|name| folder.path().join(name));
    let authority = Authority::new();
    let write_pem = |pem: &TlsPem| {
        for (path, content) in [(&certificate, &pem.certificate), (&key, &pem.key), (&ca, &pem.ca)] {
            std::fs::write(path, content).unwrap();
        }
    };
    let (first, second) = (authority.pem_for("one"), authority.pem_for("two"));
    let tls = InternalTls::new(first.clone()).unwrap();
    let credentials = Credentials::new(Some(InternalToken::parse(TOKEN).unwrap()), Some(tls)).unwrap();
    let shown = || credentials.tls().unwrap().client().identity.unwrap().certificate;
    let tasks = Tasks::new();
    let stop = || tasks.cancelled().clone();
    tasks.spawn(credentials.token().unwrap().clone().follow(token.clone(), stop()));
    tasks.spawn(credentials.tls().unwrap().clone().follow(certificate.clone(), key.clone(), ca.clone(), stop()));
    let a_moment = || tokio::time::sleep(Duration::from_secs(11));

    std::fs::write(&token, OTHER).unwrap();
    write_pem(&second);
    a_moment().await;
    assert_eq!((sent(&credentials).as_str(), shown()), (OTHER, second.certificate.clone()));
    // Neither an unusable token, a key of another certificate, nor a missing file makes a process forget what it knows.
    std::fs::write(&token, "short").unwrap();
    write_pem(&TlsPem { key: first.key.clone(), ..second.clone() });
    a_moment().await;
    assert_eq!((sent(&credentials).as_str(), shown()), (OTHER, second.certificate.clone()));
    std::fs::remove_file(&token).unwrap();
    a_moment().await;
    assert_eq!(sent(&credentials), OTHER);
    std::fs::write(&token, TOKEN).unwrap();
    write_pem(&first);
    a_moment().await;
    assert_eq!((sent(&credentials).as_str(), shown()), (TOKEN, first.certificate));
    tasks.shutdown().await;
}

#[tokio::test]
async fn only_callers_with_a_certificate_of_the_authority_get_through() {
    let authority = Authority::new();
    let credentials = by_certificate(&authority, "localhost");
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let router = echo().layer(gate.http());
    let process = Process::start(router.clone(), credentials.clone()).await;
    let url = format!("https://localhost:{}", process.port);
    let own = client_of(&url, by_certificate(&authority, "runner"));
    assert_eq!(call(&own, "/echo", Repeat::Always).await.unwrap(), json!({"a": 1}));
    let foreign = client_of(&url, by_certificate(&Authority::new(), "runner"));
    let error = call(&foreign, "/echo", Repeat::Always).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
    process.stop().await;

    // The same gate on a listener without TLS: nobody can have shown a certificate, so nobody gets through.
    let process = Process::start(router, by_token(TOKEN)).await;
    let client = client_of(&process.url(), by_token(TOKEN));
    let error = call(&client, "/echo", Repeat::Always).await.unwrap_err();
    assert!(matches!(error, CallError::Unauthorized { .. }), "{error:?}");
    process.stop().await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_believed() {
    let authority = Authority::new();
    let credentials = by_certificate(&authority, "storage.test");
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let process = Process::start(echo().layer(gate.http()), credentials).await;
    let url = format!("https://localhost:{}", process.port);
    let error = call(&client_of(&url, by_certificate(&authority, "x")), "/echo", Repeat::Always).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
    process.stop().await;
}

#[tokio::test]
async fn certificates_are_replaced_while_the_process_runs() {
    let (old, new) = (Authority::new(), Authority::new());
    let credentials = by_certificate(&old, "localhost");
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let process = Process::start(echo().layer(gate.http()), credentials.clone()).await;
    let url = format!("https://localhost:{}", process.port);
    let caller = by_certificate(&old, "runner");
    let client = client_of(&url, caller.clone());
    call(&client, "/echo", Repeat::Always).await.unwrap();
    assert!(credentials.tls().unwrap().replace(new.pem_for("localhost")).unwrap());
    assert!(call(&client_of(&url, by_certificate(&old, "runner")), "/echo", Repeat::Always).await.is_err());
    assert!(caller.tls().unwrap().replace(new.pem_for("runner")).unwrap());
    call(&client, "/echo", Repeat::Always).await.unwrap();
    let mut broken = new.pem_for("runner");
    broken.key = old.pem_for("runner").key;
    let error = caller.tls().unwrap().replace(broken).unwrap_err();
    assert_eq!(error.what, "key");
    call(&client, "/echo", Repeat::Always).await.unwrap();
    process.stop().await;
}

#[tokio::test]
async fn dialed_connections_speak_http2_with_the_same_credentials() {
    let authority = Authority::new();
    let credentials = by_certificate(&authority, "localhost");
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let process = Process::start(echo().layer(gate.http()), credentials).await;
    let caller = by_certificate(&authority, "api");
    let url = format!("https://localhost:{}", process.port);
    let target = Target::parse(&url, &caller).unwrap();
    let socket = Dialer::new(target, caller.clone()).dial().await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), socket).await.unwrap();
    process.tasks.spawn(async move { connection.await.unwrap_or(()) });
    let mut sender = Stamped::new(Sender(sender), caller, Some(Duration::from_secs(5)));
    let request = http::Request::post(format!("{url}/echo"))
        .header("content-type", "application/json")
        .body("{}".to_owned())
        .unwrap();
    let response = tower_service::Service::call(&mut sender, request).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_2));
    drop(sender);
    process.stop().await;
}

/// A connection as a client's transport.
struct Sender(hyper::client::conn::http2::SendRequest<String>);

impl tower_service::Service<http::Request<String>> for Sender {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<String>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[tokio::test]
async fn request_id_and_trace_are_carried_through_two_processes() {
    let seen = |headers: HeaderMap| async move {
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        let context = CallContext::current().unwrap();
        assert_eq!(text("x-request-id"), &*context.request_id);
        let left: u64 = text("x-testmesh-time-left-ms").parse().unwrap();
        Json(json!([text("x-request-id"), context.trace.trace_id(), left, text("x-testmesh-release")]))
    };
    let credentials = by_token(TOKEN);
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let last = Router::new().route("/seen", post(seen)).layer(gate.http());
    let last = Process::start(last, credentials.clone()).await;
    let forward =
        |State(client): State<Client>| async move { Json(call(&client, "/seen", Repeat::Always).await.unwrap()) };
    let first = Router::new().route("/forward", post(forward)).layer(gate.http());
    let first =
        Process::start(first.with_state(client_of(&last.url(), credentials.clone())), credentials.clone()).await;

    let trace: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let deadline = Some(Instant::now() + Duration::from_secs(2));
    let context = CallContext { request_id: "the-request".into(), trace, deadline };
    let client = client_of(&first.url(), credentials);
    let seen = context.scope(call(&client, "/forward", Repeat::Always)).await.unwrap();
    assert_eq!(seen[0], "the-request");
    assert_eq!(seen[1], "0af7651916cd43dd8448eb211c80319c");
    assert!((1..=2000).contains(&seen[2].as_u64().unwrap()), "{seen}");
    assert_eq!(seen[3], RELEASE);
    // Without a context there are an id and a trace all the same.
    let seen = call(&client, "/forward", Repeat::Always).await.unwrap();
    assert_eq!((seen[0].as_str().unwrap().len(), seen[1].as_str().unwrap().len()), (36, 32));
    first.stop().await;
    last.stop().await;
}

#[tokio::test]
async fn what_is_too_much_is_turned_away_and_repeated_whatever_it_is() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = {
        let (entered, leave, calls) = (Arc::clone(&entered), Arc::clone(&leave), Arc::clone(&calls));
        move || async move {
            calls.fetch_add(1, Ordering::SeqCst);
            entered.notify_one();
            leave.notified().await;
            Json(json!("done"))
        }
    };
    let credentials = by_token(TOKEN);
    let gate = Gate::new(credentials.clone(), GateLimits { concurrent: 1, ..GateLimits::default() });
    let process =
        Process::start(Router::new().route("/slow", post(handler)).layer(gate.http()), credentials.clone()).await;
    let client = client_of(&process.url(), credentials);
    let first = call(&client, "/slow", Repeat::WhileNotBegun);
    let second = async {
        entered.notified().await;
        let once = client.with_limits(ClientLimits { attempts: 1, ..ClientLimits::default() });
        let error = call(&once, "/slow", Repeat::WhileNotBegun).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Overloaded, "{error:?}");
        // Two places to leave by: one for the first call, one for the repetition.
        leave.notify_one();
        let patient = client.with_limits(ClientLimits { attempts: 1000, ..ClientLimits::default() });
        let repeated = async {
            entered.notified().await;
            leave.notify_one();
        };
        tokio::join!(call(&patient, "/slow", Repeat::WhileNotBegun), repeated).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.unwrap(), second.unwrap()), (json!("done"), json!("done")));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    process.stop().await;
}

/// Tells when the work that holds it ends, however it ends.
struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_call_ends_with_its_time_on_both_sides() {
    let ended = Arc::new(Notify::new());
    let handler = {
        let ended = Arc::clone(&ended);
        move || {
            let guard = OnDrop(Arc::clone(&ended));
            async move {
                std::future::pending::<()>().await;
                drop(guard);
            }
        }
    };
    let credentials = by_token(TOKEN);
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let process =
        Process::start(Router::new().route("/never", post(handler)).layer(gate.http()), credentials.clone()).await;
    let limits = ClientLimits { time: Duration::from_millis(100), ..ClientLimits::default() };
    let client = client_of(&process.url(), credentials).with_limits(limits);
    let started = Instant::now();
    let error = call(&client, "/never", Repeat::WhileNotBegun).await.unwrap_err();
    // Whichever side is faster to see that time is up.
    assert!(matches!(error.code(), ErrorCode::Unavailable | ErrorCode::Timeout), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{error:?}");
    ended.notified().await;
    process.stop().await;
}

#[tokio::test]
async fn large_bodies_and_panics_are_answered_and_not_repeated() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let boom = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { panic!("on purpose") as StatusCode }
    };
    let credentials = by_token(TOKEN);
    let gate = Gate::new(credentials.clone(), GateLimits { body_bytes: 100, ..GateLimits::default() });
    let process = Process::start(echo().route("/boom", post(boom)).layer(gate.http()), credentials.clone()).await;
    let client = client_of(&process.url(), credentials);
    let error = client.call::<_, Value>("/echo", &"x".repeat(99), Repeat::Always).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::PayloadTooLarge, "{error:?}");
    let error = call(&client, "/boom", Repeat::Always).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal, "{error:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let limits = ClientLimits { answer_bytes: 10, ..ClientLimits::default() };
    let error =
        client.with_limits(limits).call::<_, Value>("/echo", &"x".repeat(50), Repeat::Always).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { limit: 10, .. }), "{error:?}");
    process.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_where_twice_is_as_good_as_once() {
    for (repeat, attempts, expect) in [(Repeat::Always, 3, 3), (Repeat::WhileNotBegun, 3, 1), (Repeat::Always, 1, 1)] {
        // Every request is read whole and then met with a closed connection.
        let server = Server::raw(|stream, _| async move {
            let mut stream = BufReader::new(stream);
            let _ = read_request(&mut stream).await;
        })
        .await;
        let limits = ClientLimits { attempts, ..ClientLimits::default() };
        let client = client_of(&server.url(""), by_token(TOKEN)).with_limits(limits);
        let error = call(&client, "/x", repeat).await.unwrap_err();
        assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
        assert_eq!(server.connections(), expect, "{repeat:?}");
    }
}

#[tokio::test]
async fn a_repetition_that_succeeds_says_that_it_is_one() {
    let server = Server::raw(|stream, number| async move {
        let mut stream = BufReader::new(stream);
        let _ = read_request(&mut stream).await;
        if number > 0 {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7").await;
        }
    })
    .await;
    let client = client_of(&server.url(""), by_token(TOKEN));
    let answer = client.call::<_, u8>("/x", &(), Repeat::Always).await.unwrap();
    assert_eq!((answer.value, answer.repeated), (7, true));
}

#[tokio::test]
async fn nonsense_is_named_with_the_release_that_sent_it_and_not_quoted() {
    for (answer, expect) in [
        ("HTTP/1.1 200 OK\r\nx-testmesh-release: 9.9.9\r\ncontent-length: 6\r\n\r\ns3cret", "it is release 9.9.9"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "status 404"),
        ("s3cret s3cret s3cret\r\n\r\n", "not valid HTTP"),
    ] {
        let server = Server::canned(answer).await;
        let client = client_of(&server.url(""), by_token(TOKEN));
        let error = client.call::<_, Value>("/x", &(), Repeat::Always).await.unwrap_err();
        assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert!(error.to_string().contains(expect) && !error.to_string().contains("s3cret"), "{error}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn a_process_that_is_away_is_unreachable_until_it_is_back() {
    let credentials = by_token(TOKEN);
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let process = Process::start(echo().layer(gate.http()), credentials.clone()).await;
    let port = process.port;
    let client = client_of(&process.url(), credentials.clone());
    call(&client, "/echo", Repeat::WhileNotBegun).await.unwrap();
    process.stop().await;
    let error = call(&client, "/echo", Repeat::WhileNotBegun).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
    let process = Process::start_at(port, echo().layer(gate.http()), credentials).await;
    call(&client, "/echo", Repeat::WhileNotBegun).await.unwrap();
    process.stop().await;
}

#[tokio::test]
async fn grpc_is_refused_in_its_own_words() {
    let credentials = by_token(TOKEN);
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let process = Process::start(echo().layer(gate.grpc()), credentials).await;
    let client = testmesh_shared::http::HttpClient::new(testmesh_shared::net::Connector::default());
    let request =
        http::Request::post(format!("{}/testmesh.Runner/Run", process.url())).body(bytes::Bytes::new()).unwrap();
    let response = client.send(request, &testmesh_shared::http::ConnectionOptions::default()).await.unwrap();
    let text = |name: &str| response.headers[name].to_str().unwrap().to_owned();
    assert_eq!((response.status, text("content-type")), (StatusCode::OK, "application/grpc".to_owned()));
    assert_eq!(text("grpc-status"), "16");
    assert!(text("grpc-message").contains("TESTMESH_INTERNAL_TOKEN_FILE"), "{}", text("grpc-message"));
    drop(response);
    process.stop().await;
}

#[tokio::test]
async fn what_is_behind_the_gate_does_not_work_without_it() {
    let process = Process::start(echo(), by_token(TOKEN)).await;
    let client = client_of(&process.url(), by_token(TOKEN));
    let error = call(&client, "/echo", Repeat::Always).await.unwrap_err();
    assert!(matches!(error, CallError::Malformed { .. }), "{error:?}");
    process.stop().await;
}

#[test]
fn credentials_and_addresses_are_checked_before_anything_is_called() {
    assert!(Credentials::new(None, None).unwrap_err().to_string().contains("TESTMESH_INTERNAL_TOKEN_FILE"));
    let authority = Authority::new();
    let (token, certificate) = (by_token(TOKEN), by_certificate(&authority, "x"));
    let check = |url: &str, credentials: &Credentials, expect: &str| {
        let found = Target::parse(url, credentials);
        let found = found.map_or_else(|error| error.to_string(), |target| target.to_string());
        assert!(found.contains(expect), "{url}: {found}");
        assert!(!found.contains("s3cret"), "{found}");
    };
    check("http://storage:5016", &token, "http://storage:5016");
    check("http://storage/", &token, "http://storage:80");
    check("https://storage", &certificate, "https://storage:443");
    check("http://[::1]:7", &token, "http://[::1]:7");
    check("http://storage:5016", &certificate, "must begin with `https://`");
    check("storage:5016", &token, "must begin with `http://` or `https://`");
    check("ftp://storage", &token, "must begin with `http://` or `https://`");
    check("http://u:s3cret@storage:1", &token, "user or a password");
    check("http://storage:1/x", &token, "end after the port");
    check("http://storage:1/?s3cret", &token, "end after the port");
    check("s3cret", &token, "no URL");
    let pem = TlsPem { ca: b"nothing".as_slice().into(), ..authority.pem_for("x") };
    let error = InternalTls::new(pem).unwrap_err();
    assert_eq!(error.what, "CA certificate");
}

#[tokio::test]
async fn answers_other_than_200_come_back_as_what_they_are() {
    let declined = || async {
        let body = json!({"code": "name_taken", "message": "no", "details": {"name": "a"}, "later": true});
        (StatusCode::CONFLICT, Json(body)).into_response()
    };
    let credentials = by_token(TOKEN);
    let gate = Gate::new(credentials.clone(), GateLimits::default());
    let router = Router::new().route("/declined", post(declined)).layer(gate.http());
    let process = Process::start(router, credentials.clone()).await;
    let error = call(&client_of(&process.url(), credentials), "/declined", Repeat::Always).await.unwrap_err();
    let CallError::Answered { error, .. } = error else { panic!("{error:?}") };
    assert_eq!((error.known_code(), error.details), (Some(ErrorCode::NameTaken), json!({"name": "a"})));
    process.stop().await;
}
