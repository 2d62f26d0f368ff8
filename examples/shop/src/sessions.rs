//! The user service's logins. A session is a token that Redis knows for a day.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::answer::{Answer, Refusal, ok};
use crate::cache::SESSION_LASTS;
use crate::events::Event;
use crate::fields::Fields;
use crate::shop::{Shop, new_id, now};
use crate::users::{self, User};

pub(crate) fn routes() -> Router<Arc<Shop>> {
    Router::new()
        .route("/api/v1/auth/login", post(login))
        .route("/api/v1/auth/verify", get(verify))
        .route("/api/v1/auth/me", get(me))
        .route("/api/v1/auth/logout", post(logout))
}

async fn login(State(shop): State<Arc<Shop>>, mut fields: Fields) -> Answer {
    fields.need("email");
    let email = fields.email("email").unwrap_or_default();
    let password = fields.text("password");
    fields.finish()?;
    let user = match users::with_email(&shop, &email).await? {
        Some(user) => user,
        None if shop.settings.reveal_unknown_emails => return Err(Refusal::NotFound("user")),
        None => return Err(Refusal::Unauthorized("wrong e-mail address or password")),
    };
    let token = open(&shop, &user, password.as_deref()).await?;
    ok(json!({"token": token, "user_id": user.id, "user": user, "expires_in": SESSION_LASTS}))
}

/// Opens a session for a user who shows the password, if the user has one; gives its token.
pub(crate) async fn open(shop: &Shop, user: &User, password: Option<&str>) -> Result<String, Refusal> {
    if let Some(hash) = &user.password_hash
        && !password.is_some_and(|password| is_password(hash, password))
    {
        return Err(Refusal::Unauthorized("wrong e-mail address or password"));
    }
    let (token, id) = (new_id().to_string(), user.id.to_string());
    let session = json!({"user_id": id, "email": user.email, "created_at": now()});
    shop.cache.keep("session", &token, &session).await?;
    let fields = json!({"user_id": id, "email": user.email});
    shop.events.publish(Event::new("user.login", &id, fields)).await?;
    Ok(token)
}

async fn verify(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Answer {
    let token = token(&headers)?;
    match shop.cache.find("session", &token).await? {
        Some(session) => ok(json!({"valid": true, "user_id": session["user_id"], "email": session["email"]})),
        None => ok(json!({"valid": false})),
    }
}

async fn me(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Answer {
    let session = session(&shop, &headers).await?;
    ok(users::find(&shop, session["user_id"].as_str().unwrap_or_default()).await?.body())
}

async fn logout(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Result<StatusCode, Refusal> {
    let session = session(&shop, &headers).await?;
    shop.cache.forget("session", &token(&headers)?).await?;
    let id = session["user_id"].as_str().unwrap_or_default();
    shop.events.publish(Event::new("user.logout", id, json!({"user_id": id, "email": session["email"]}))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The session of whoever asks.
pub(crate) async fn session(shop: &Shop, headers: &HeaderMap) -> Result<Value, Refusal> {
    let session = shop.cache.find("session", &token(headers)?).await?;
    session.ok_or(Refusal::Unauthorized("the session is over, or never was"))
}

/// The token of `Authorization`, with or without `Bearer` before it.
fn token(headers: &HeaderMap) -> Result<String, Refusal> {
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ if text.eq_ignore_ascii_case("bearer") => "",
        _ => text,
    };
    if token.is_empty() { Err(Refusal::Unauthorized("a session token is required")) } else { Ok(token.to_owned()) }
}

/// A password's salted hash. One round is enough for accounts that end with the demo; a real shop takes a slow one.
pub(crate) fn hash(password: &str) -> String {
    let salt = new_id().simple().to_string();
    format!("{salt}:{}", hex::encode(mac(&salt, password).finalize().into_bytes()))
}

/// Whether a password has this hash.
pub(crate) fn is_password(hash: &str, password: &str) -> bool {
    let Some((salt, hash)) = hash.split_once(':') else { return false };
    hex::decode(hash).is_ok_and(|hash| mac(salt, password).verify_slice(&hash).is_ok())
}

fn mac(salt: &str, password: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(salt.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(password.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_alone() {
        let stored = hash("secret");
        assert!(is_password(&stored, "secret"));
        assert!(!is_password(&stored, "Secret"));
        assert!(!is_password("secret", "secret"));
        assert_ne!(stored, hash("secret"), "each has a salt of its own");
    }

    #[test]
    fn a_token_comes_with_or_without_its_scheme() {
        for (text, expect) in [
            ("abc", Some("abc")),
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, text.parse().unwrap())]);
            assert_eq!(token(&headers).ok().as_deref(), expect, "{text:?}");
        }
        assert!(token(&HeaderMap::new()).is_err());
    }
}
