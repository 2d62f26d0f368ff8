//! `GET /livez`.

/// Whether the process runs.
///
/// Touches nothing else: a database that is away is no reason to start the process anew.
#[utoipa::path(
    get, path = "/livez", operation_id = "livez", tag = "system",
    responses((status = 200, description = "It runs.", body = String, content_type = "text/plain", example = "ok\n")),
    security(()),
)]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}
