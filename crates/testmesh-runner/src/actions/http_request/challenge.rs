//! Answers a digest challenge (RFC 7616).

use std::borrow::Cow;

use digest_auth::{AuthContext, HttpMethod};
use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use testmesh_shared::http::Response;
use url::Position;

use super::auth::{Auth, sensitive};
use super::plan::Plan;
use super::{Failure, Hop};
use crate::record::ErrorKind;

/// The value of `Authorization` that a challenge asks for; `None` when there is no challenge or nothing to answer with.
pub(super) fn answer(plan: &Plan, hop: &Hop, response: &Response) -> Result<Option<HeaderValue>, Failure> {
    let Auth::Digest { username, password } = &plan.auth else { return Ok(None) };
    if response.status != StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    let challenges = response.headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
    let digest = challenges
        .map(str::trim_start)
        .find(|text| text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("digest ")));
    let Some(challenge) = digest else { return Ok(None) };
    let failed = |error: digest_auth::Error| {
        Failure::new(ErrorKind::Protocol, format!("the digest challenge cannot be answered: {error}"))
    };
    let mut prompt = digest_auth::parse(challenge).map_err(failed)?;
    let context = AuthContext::new_with_method(
        &**username,
        &**password,
        &hop.url[Position::BeforePath..Position::AfterQuery],
        Some(hop.body.as_ref()),
        HttpMethod(Cow::Borrowed(hop.method.as_str())),
    );
    let value = prompt.respond(&context).map_err(failed)?.to_string();
    let value = sensitive(&value)
        .ok_or_else(|| Failure::new(ErrorKind::Config, "`username` holds characters that cannot be sent"))?;
    Ok(Some(value))
}
