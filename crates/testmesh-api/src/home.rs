//! `GET /`: a short page with links, until there is a web page to work with.

use axum::http::{HeaderMap, header};
use axum::response::Html;

/// A short page with links.
#[utoipa::path(
    get, path = "/", operation_id = "home", tag = "system",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
    security(()),
)]
pub(crate) async fn home(headers: HeaderMap) -> Html<String> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(|host| is_plain(host));
    Html(include_str!("home/page.html").replace("{host}", host.unwrap_or("127.0.0.1:5016")))
}

/// Whether a host name, as a client sent it, may stand in a page and in a shell's line.
fn is_plain(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}
