//! `GET /`: a short page with links, until there is a web page to work with.

use axum::response::Html;

/// A short page with links.
#[utoipa::path(
    get, path = "/", operation_id = "home", tag = "system",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
    security(()),
)]
pub(crate) async fn home() -> Html<&'static str> {
    Html(include_str!("home/page.html"))
}
