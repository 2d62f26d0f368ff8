//! `GET /docs`: a page that shows the OpenAPI document, served whole from this binary.

use std::sync::{Arc, LazyLock};

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use testmesh_shared::error::ErrorCode;
use utoipa_swagger_ui::Config;

use crate::extract::path::{Path, Word};
use crate::problem::Problem;

const PAGE: &str = include_str!("docs/page.html");
const START: &str = include_str!("docs/start.js");

/// The files of Swagger UI that the page uses.
const FILES: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::new(["/api/openapi.json"])));

/// A page that shows this document.
#[utoipa::path(
    get, path = "/docs", operation_id = "docs", tag = "system",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn docs() -> Html<&'static str> {
    Html(PAGE)
}

/// A file of the page.
#[utoipa::path(
    get, path = "/docs/{file}", operation_id = "docs_file", tag = "system",
    params(("file" = String, Path, description = "Its name.", min_length = 1, max_length = 255,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", example = "swagger-ui.css")),
    responses((status = 200, description = "The file.", content(
        (String = "text/css"), (String = "text/javascript"),
    ))),
    extensions(("x-errors" = json!(["route_not_found"]))),
    security(("bearer" = ["read"])),
)]
pub(crate) async fn docs_file(Path(Word(file)): Path<Word>) -> Result<Response, Problem> {
    if file == "start.js" {
        return Ok(([(header::CONTENT_TYPE, "text/javascript")], START).into_response());
    }
    let absent = || Problem::new(ErrorCode::RouteNotFound, "the documentation page has no such file");
    let name = FILES.into_iter().find(|name| *name == file).ok_or_else(absent)?;
    let found = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)).map_err(|_| Problem::internal())?;
    let found = found.ok_or_else(absent)?;
    let content_type = HeaderValue::from_str(&found.content_type).map_err(|_| Problem::internal())?;
    let mut response = ([(header::CONTENT_TYPE, content_type)], found.bytes.into_owned()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    if found.gzpipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
