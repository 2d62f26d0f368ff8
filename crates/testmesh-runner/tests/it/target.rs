//! The service that HTTP steps are tried on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use parking_lot::Mutex;
use serde_json::json;
use testmesh_shared::tasks::Tasks;
use tokio::net::TcpListener;

/// A running service.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tokens_issued: Arc<Mutex<u32>>,
    tasks: Tasks,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

impl Target {
    pub(crate) async fn start() -> Self {
        let tokens_issued = Arc::new(Mutex::new(0));
        let app = Router::new()
            .route("/redirect/{status}", any(async |Path(status): Path<u16>| redirect(status, "/echo".to_owned())))
            .route("/loop", any(async || redirect(302, "/loop".to_owned())))
            .route("/to", get(redirect_to))
            .route("/set-cookie", get(set_cookie))
            .route("/typed", post(typed))
            .route("/digest", any(digest))
            .route("/token", post(token))
            .fallback(echo)
            .with_state(Arc::clone(&tokens_issued));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let cancelled = tasks.cancelled().clone();
        tasks.spawn(async move { cancelled.run_until_cancelled(async { axum::serve(listener, app).await }).await });
        Self { address, tokens_issued, tasks }
    }

    /// The steps with `BASE` replaced by the service's URL.
    pub(crate) fn steps(&self, yaml: &str) -> String {
        yaml.replace("BASE", &format!("http://{}", self.address))
    }
}

/// Tells what was asked.
async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let headers: BTreeMap<_, _> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    axum::Json(json!({
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "query": parts.uri.query(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }))
    .into_response()
}

fn redirect(status: u16, location: String) -> Response {
    (StatusCode::from_u16(status).unwrap(), [(header::LOCATION, location)]).into_response()
}

async fn redirect_to(request: Request) -> Response {
    redirect(302, request.uri().query().unwrap_or_default().to_owned())
}

async fn set_cookie() -> impl IntoResponse {
    ([(header::SET_COOKIE, "session=abc; Path=/; HttpOnly")], "set")
}

/// Gives back the body under the type that `x-type` names.
async fn typed(headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let content_type = headers.get("x-type").cloned().unwrap();
    ([(header::CONTENT_TYPE, content_type)], body)
}

async fn digest(request: Request) -> Response {
    let challenge = r#"Digest realm="shop", qop="auth", algorithm=SHA-256, nonce="n0nce", opaque="0paque""#;
    let unauthorized = || (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
    let Some(given) = request.headers().get(header::AUTHORIZATION) else { return unauthorized() };
    let mut answer = digest_auth::AuthorizationHeader::parse(given.to_str().unwrap()).unwrap();
    let response = answer.response.clone();
    let method = digest_auth::HttpMethod(request.method().as_str().to_owned().into());
    let uri = request.uri().path_and_query().unwrap().as_str();
    answer.digest(&digest_auth::AuthContext::new_with_method("ada", "s3cret", uri, None::<&[u8]>, method));
    if answer.response == response { "welcome".into_response() } else { unauthorized() }
}

async fn token(State(issued): State<Arc<Mutex<u32>>>, headers: HeaderMap, body: String) -> Response {
    let basic = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    // `shop:top secret`, form-encoded before it is joined.
    if basic.as_deref() != Some("Basic c2hvcDp0b3Arc2VjcmV0") {
        let error = json!({"error": "invalid_client", "error_description": "who are you"});
        return (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response();
    }
    let number = {
        let mut issued = issued.lock();
        *issued += 1;
        *issued
    };
    let note = HeaderName::from_static("x-asked");
    ([(note, body.clone())], axum::Json(json!({"access_token": format!("t{number}:{body}"), "expires_in": "3600"})))
        .into_response()
}
