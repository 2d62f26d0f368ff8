//! The notification service: a notification for each event that a user should hear of.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{PgExecutor, Postgres, Transaction};
use uuid::Uuid;

use crate::answer::{Answer, Refusal, created, ok};
use crate::consumer::{Aftermath, Incoming};
use crate::events::Event;
use crate::fields::Fields;
use crate::page::{Page, Query, flag};
use crate::shop::{Shop, id, new_id, now};

/// What the service follows.
pub(crate) const TOPICS: &[&str] = &["user.created", "order.placed", "order.status.changed"];

/// A notification as callers see one.
#[derive(Debug, Serialize, sqlx::FromRow)]
struct Notification {
    id: Uuid,
    user_id: String,
    #[sqlx(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    title: String,
    message: String,
    read: bool,
    created_at: DateTime<Utc>,
}

/// The columns of a notification.
macro_rules! columns {
    () => {
        "id, user_id, type, title, message, read, created_at"
    };
}

/// A notification that is not there yet.
struct Note<'a> {
    user_id: &'a str,
    kind: &'a str,
    title: &'a str,
    message: String,
    time: DateTime<Utc>,
}

pub(crate) fn routes() -> Router<Arc<Shop>> {
    Router::new()
        .route("/api/v1/notifications", get(list).post(create))
        .route("/api/v1/notifications/{id}", get(list_of_user).delete(remove))
        .route("/api/v1/notifications/{id}/read", put(mark_read).patch(mark_read).post(mark_read))
}

async fn add<'e>(executor: impl PgExecutor<'e>, note: &Note<'_>) -> Result<Notification, sqlx::Error> {
    sqlx::query_as(concat!(
        "insert into notification_service.notifications (id, user_id, type, title, message, created_at) \
         values ($1, $2, $3, $4, $5, $6) returning ",
        columns!()
    ))
    .bind(new_id())
    .bind(note.user_id)
    .bind(note.kind)
    .bind(note.title)
    .bind(&note.message)
    .bind(note.time)
    .fetch_one(executor)
    .await
}

fn sent(notification: &Notification) -> Event {
    let Notification { id, user_id, kind, .. } = notification;
    let fields = json!({"notification_id": id, "user_id": user_id, "type": kind});
    Event::new("notification.sent", user_id, fields)
}

/// What the user of an event is told; none: nothing.
fn note(incoming: &Incoming) -> Option<Note<'_>> {
    let body = &incoming.body;
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let (title, message) = match incoming.kind.as_str() {
        "user.created" => ("Welcome", format!("Welcome to the shop, {}!", text("name"))),
        "order.placed" => {
            ("Order placed", format!("Your order {} over {} is placed.", text("order_id"), body["total"]))
        }
        // The first state is told with the order.
        "order.status.changed" if body["old_status"].is_string() => {
            ("Order changed", format!("Your order {} is {} now.", text("order_id"), text("new_status")))
        }
        _ => return None,
    };
    let user_id = body["user_id"].as_str()?;
    Some(Note { user_id, kind: &incoming.kind, title, message, time: incoming.time })
}

/// Tells the user of an event. The notification has the event's time, so that they stand in the order of what happened.
pub(crate) async fn follow(
    transaction: &mut Transaction<'_, Postgres>,
    incoming: &Incoming,
) -> Result<Aftermath, sqlx::Error> {
    let Some(note) = note(incoming) else { return Ok(Aftermath::default()) };
    let notification = add(&mut **transaction, &note).await?;
    Ok(Aftermath { keep: Vec::new(), events: vec![sent(&notification)] })
}

async fn create(State(shop): State<Arc<Shop>>, mut fields: Fields) -> Answer {
    let (user_id, kind) = (fields.required_text("user_id"), fields.required_text("type"));
    let message = fields.required_text("message");
    let title = fields.text("title").unwrap_or_else(|| kind.clone());
    fields.finish()?;
    let note = Note { user_id: &user_id, kind: &kind, title: &title, message, time: now() };
    let notification = add(&shop.db, &note).await?;
    shop.events.publish(sent(&notification)).await?;
    created(json!(notification))
}

async fn list(State(shop): State<Arc<Shop>>, query: Query) -> Answer {
    let user = query.get("user_id").cloned();
    page_of(&shop, user, &query).await
}

async fn list_of_user(State(shop): State<Arc<Shop>>, Path(user): Path<String>, query: Query) -> Answer {
    page_of(&shop, Some(user), &query).await
}

async fn page_of(shop: &Shop, user: Option<String>, query: &Query) -> Answer {
    let page = Page::of(query)?;
    let (kind, read) = (query.get("type"), flag(query, "read")?);
    let notifications: Vec<Notification> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        " from notification_service.notifications \
         where ($1::text is null or user_id = $1) and ($2::text is null or type = $2) \
         and ($3::boolean is null or read = $3) order by created_at desc, id limit $4 offset $5"
    ))
    .bind(&user)
    .bind(kind)
    .bind(read)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(&shop.db)
    .await?;
    let total: i64 = sqlx::query_scalar(
        "select count(*) from notification_service.notifications \
         where ($1::text is null or user_id = $1) and ($2::text is null or type = $2) \
         and ($3::boolean is null or read = $3)",
    )
    .bind(&user)
    .bind(kind)
    .bind(read)
    .fetch_one(&shop.db)
    .await?;
    let entries: Vec<Value> = notifications.iter().map(|notification| json!(notification)).collect();
    ok(page.body("notifications", entries, total))
}

async fn mark_read(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Answer {
    let id = id(&text).ok_or(Refusal::NotFound("notification"))?;
    let marked: Option<Notification> = sqlx::query_as(concat!(
        "update notification_service.notifications set read = true where id = $1 returning ",
        columns!()
    ))
    .bind(id)
    .fetch_optional(&shop.db)
    .await?;
    ok(json!(marked.ok_or(Refusal::NotFound("notification"))?))
}

async fn remove(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Result<StatusCode, Refusal> {
    let id = id(&text).ok_or(Refusal::NotFound("notification"))?;
    let gone = sqlx::query("delete from notification_service.notifications where id = $1").bind(id);
    match gone.execute(&shop.db).await?.rows_affected() {
        0 => Err(Refusal::NotFound("notification")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
