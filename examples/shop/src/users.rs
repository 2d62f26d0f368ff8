//! The user service's users.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::answer::{Answer, Refusal, created, ok};
use crate::events::Event;
use crate::fields::Fields;
use crate::page::{Page, Query};
use crate::shop::{Shop, id, new_id, now};

/// A user as callers see one.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) name: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(skip)]
    pub(crate) password_hash: Option<String>,
}

impl User {
    pub(crate) fn body(&self) -> Value {
        json!(self)
    }
}

pub(crate) fn routes() -> Router<Arc<Shop>> {
    Router::new()
        .route("/api/v1/users", get(list).post(create))
        .route("/api/v1/users/{id}", get(show).put(change).patch(change).delete(remove))
}

/// A user who is not there yet.
pub(crate) struct NewUser {
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) password_hash: Option<String>,
}

impl NewUser {
    /// Reads one from a request.
    pub(crate) fn read(mut fields: Fields, needs_password: bool) -> Result<(Self, Option<String>), Refusal> {
        let name = fields.required_text("name");
        fields.need("email");
        let email = fields.email("email").unwrap_or_default();
        if needs_password {
            fields.need("password");
        }
        let password = fields.text("password");
        fields.finish()?;
        let password_hash = password.as_deref().map(crate::sessions::hash);
        Ok((Self { email, name, password_hash }, password))
    }
}

async fn create(State(shop): State<Arc<Shop>>, fields: Fields) -> Answer {
    let (new, _) = NewUser::read(fields, false)?;
    match add(&shop, &new).await? {
        Some(user) => created(user.body()),
        None => Err(taken(&new.email)),
    }
}

/// Adds a user and tells everybody; none when the address is taken.
pub(crate) async fn add(shop: &Shop, new: &NewUser) -> Result<Option<User>, Refusal> {
    let added = insert(shop, new).await?;
    if let Some(user) = &added {
        changed(shop, "user.created", user).await?;
    }
    Ok(added)
}

/// Stores a user; none when the address is taken.
pub(crate) async fn insert(shop: &Shop, new: &NewUser) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as(
        "insert into user_service.users (id, email, name, password_hash, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $5) on conflict (email) do nothing returning id, email, name, password_hash, created_at, updated_at",
    )
    .bind(new_id())
    .bind(&new.email)
    .bind(&new.name)
    .bind(&new.password_hash)
    .bind(now())
    .fetch_optional(&shop.db)
    .await
}

/// Keeps a user's state at hand, and tells that it is new.
async fn changed(shop: &Shop, kind: &'static str, user: &User) -> Result<(), Refusal> {
    let id = user.id.to_string();
    shop.cache.keep("user", &id, &user.body()).await?;
    let fields = json!({"user_id": id, "email": user.email, "name": user.name});
    shop.events.publish(Event::new(kind, &id, fields)).await
}

async fn show(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Answer {
    if let Some(user) = shop.cache.find("user", &text).await? {
        return ok(user);
    }
    let user = find(&shop, &text).await?;
    shop.cache.keep("user", &user.id.to_string(), &user.body()).await?;
    ok(user.body())
}

pub(crate) async fn find(shop: &Shop, text: &str) -> Result<User, Refusal> {
    let id = id(text).ok_or(Refusal::NotFound("user"))?;
    let found = sqlx::query_as(
        "select id, email, name, password_hash, created_at, updated_at from user_service.users where id = $1",
    )
    .bind(id);
    found.fetch_optional(&shop.db).await?.ok_or(Refusal::NotFound("user"))
}

/// The user with an address, which is in lower case.
pub(crate) async fn with_email(shop: &Shop, email: &str) -> Result<Option<User>, Refusal> {
    let found = sqlx::query_as(
        "select id, email, name, password_hash, created_at, updated_at from user_service.users where email = $1",
    )
    .bind(email);
    Ok(found.fetch_optional(&shop.db).await?)
}

async fn list(State(shop): State<Arc<Shop>>, query: Query) -> Answer {
    let page = Page::of(&query)?;
    let email = query.get("email").map(|email| email.to_lowercase());
    let search = query.get("search").or(query.get("name"));
    let users: Vec<User> = sqlx::query_as(
        "select id, email, name, password_hash, created_at, updated_at from user_service.users where ($1::text is null or email = $1) \
         and ($2::text is null or strpos(lower(name), lower($2)) > 0 or strpos(email, lower($2)) > 0) \
         order by created_at desc, id limit $3 offset $4",
    )
    .bind(&email)
    .bind(search)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(&shop.db)
    .await?;
    let total: i64 = sqlx::query_scalar(
        "select count(*) from user_service.users where ($1::text is null or email = $1) \
         and ($2::text is null or strpos(lower(name), lower($2)) > 0 or strpos(email, lower($2)) > 0)",
    )
    .bind(&email)
    .bind(search)
    .fetch_one(&shop.db)
    .await?;
    ok(page.body("users", users.iter().map(User::body).collect(), total))
}

async fn change(State(shop): State<Arc<Shop>>, Path(text): Path<String>, mut fields: Fields) -> Answer {
    let user = find(&shop, &text).await?;
    if fields.lacks_all(&["name", "email", "password"]) {
        fields.wrong("name, email or password", "is required");
    }
    let (name, email) = (fields.text("name"), fields.email("email"));
    let password_hash = fields.text("password").as_deref().map(crate::sessions::hash);
    fields.finish()?;
    let changed_user: Result<User, sqlx::Error> = sqlx::query_as(
        "update user_service.users set name = coalesce($2, name), email = coalesce($3, email), \
         password_hash = coalesce($4, password_hash), updated_at = $5 where id = $1 returning id, email, name, password_hash, created_at, updated_at",
    )
    .bind(user.id)
    .bind(name)
    .bind(&email)
    .bind(password_hash)
    .bind(now())
    .fetch_one(&shop.db)
    .await;
    match changed_user {
        Ok(user) => {
            changed(&shop, "user.updated", &user).await?;
            ok(user.body())
        }
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(taken(&email.unwrap_or_default())),
        Err(sqlx::Error::RowNotFound) => Err(Refusal::NotFound("user")),
        Err(error) => Err(error.into()),
    }
}

async fn remove(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Result<StatusCode, Refusal> {
    let user = find(&shop, &text).await?;
    let id = user.id.to_string();
    sqlx::query("delete from user_service.users where id = $1").bind(user.id).execute(&shop.db).await?;
    shop.cache.forget("user", &id).await?;
    let fields = json!({"user_id": id, "email": user.email});
    shop.events.publish(Event::new("user.deleted", &id, fields)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn taken(email: &str) -> Refusal {
    Refusal::Conflict(format!("a user with the e-mail address {email} exists already"))
}
