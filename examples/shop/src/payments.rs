//! The payment service. The bank behind it is a double that takes every card.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::answer::{Answer, Refusal, ok};
use crate::events::Event;
use crate::fields::Fields;
use crate::money::Money;
use crate::page::{Page, Query};
use crate::shop::{Shop, id, new_id, now};

/// A payment as callers see one.
#[derive(Debug, Serialize, sqlx::FromRow)]
struct Payment {
    id: Uuid,
    order_id: String,
    amount: Money,
    refunded: Money,
    currency: String,
    method: String,
    status: String,
    created_at: DateTime<Utc>,
}

/// The columns of a payment.
macro_rules! columns {
    () => {
        "id, order_id, (amount * 100)::bigint as amount, (refunded * 100)::bigint as refunded, currency, method, \
         status, created_at"
    };
}

pub(crate) fn routes() -> Router<Arc<Shop>> {
    Router::new()
        .route("/api/payments", get(list).post(pay))
        .route("/api/payments/{id}", get(show))
        .route("/api/refunds", post(refund))
        .route("/api/v1/payments", get(list).post(pay))
        .route("/api/v1/payments/{id}", get(show))
        .route("/api/v1/refunds", post(refund))
}

async fn pay(State(shop): State<Arc<Shop>>, mut fields: Fields) -> Answer {
    let order_id = fields.required_text("order_id");
    fields.need("amount");
    let amount = fields.money("amount").unwrap_or(Money::ZERO);
    let currency = fields.text("currency").unwrap_or_else(|| "USD".to_owned());
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        fields.wrong("currency", "must be three capital letters");
    }
    let method = fields.text("method").unwrap_or_else(|| "card".to_owned());
    fields.finish()?;
    let payment: Payment = sqlx::query_as(concat!(
        "insert into payment_service.payments (id, order_id, amount, currency, method, status, created_at, updated_at) \
         values ($1, $2, $3::bigint::numeric / 100, $4, $5, 'succeeded', $6, $6) returning ",
        columns!()
    ))
    .bind(new_id())
    .bind(order_id)
    .bind(amount)
    .bind(currency)
    .bind(method)
    .bind(now())
    .fetch_one(&shop.db)
    .await?;
    let Payment { id, order_id, amount, currency, .. } = &payment;
    let fields = json!({"payment_id": id, "order_id": order_id, "amount": amount, "currency": currency});
    shop.events.publish(Event::new("payment.succeeded", order_id, fields)).await?;
    ok(json!(payment))
}

async fn find(shop: &Shop, text: &str) -> Result<Option<Payment>, sqlx::Error> {
    let Some(id) = id(text) else { return Ok(None) };
    let found = sqlx::query_as(concat!("select ", columns!(), " from payment_service.payments where id = $1")).bind(id);
    found.fetch_optional(&shop.db).await
}

async fn show(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Answer {
    ok(json!(find(&shop, &text).await?.ok_or(Refusal::NotFound("payment"))?))
}

async fn list(State(shop): State<Arc<Shop>>, query: Query) -> Answer {
    let page = Page::of(&query)?;
    let order = query.get("order_id");
    let payments: Vec<Payment> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        " from payment_service.payments where ($1::text is null or order_id = $1) \
         order by created_at desc, id limit $2 offset $3"
    ))
    .bind(order)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(&shop.db)
    .await?;
    let total: i64 =
        sqlx::query_scalar("select count(*) from payment_service.payments where ($1::text is null or order_id = $1)")
            .bind(order)
            .fetch_one(&shop.db)
            .await?;
    let entries: Vec<Value> = payments.iter().map(|payment| json!(payment)).collect();
    ok(page.body("payments", entries, total))
}

async fn refund(State(shop): State<Arc<Shop>>, mut fields: Fields) -> Answer {
    let payment_id = fields.required_text("payment_id");
    let amount = fields.money("amount");
    let reason = fields.text("reason").unwrap_or_default();
    fields.finish()?;
    let payment = find(&shop, &payment_id).await?;
    let payment = payment
        .ok_or_else(|| Refusal::Unacceptable("payment_not_found", format!("there is no payment {payment_id}")))?;
    let amount = amount.unwrap_or(payment.amount);
    let mut transaction = shop.db.begin().await?;
    let taken = sqlx::query(
        "update payment_service.payments set refunded = refunded + $2::bigint::numeric / 100, updated_at = $3, \
         status = case when refunded + $2::bigint::numeric / 100 = amount then 'refunded' else status end \
         where id = $1 and refunded + $2::bigint::numeric / 100 <= amount",
    );
    let taken = taken.bind(payment.id).bind(amount).bind(now()).execute(&mut *transaction).await?;
    if taken.rows_affected() == 0 {
        let problem = "more than what was paid and not yet given back".to_owned();
        return Err(Refusal::Unacceptable("refund_too_large", problem));
    }
    let id = new_id();
    sqlx::query(
        "insert into payment_service.refunds (id, payment_id, amount, reason, status, created_at) \
         values ($1, $2, $3::bigint::numeric / 100, $4, 'succeeded', $5)",
    )
    .bind(id)
    .bind(payment.id)
    .bind(amount)
    .bind(&reason)
    .bind(now())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let fields = json!({"refund_id": id, "payment_id": payment.id, "order_id": payment.order_id, "amount": amount});
    shop.events.publish(Event::new("payment.refunded", &payment.order_id, fields)).await?;
    ok(json!({"id": id, "payment_id": payment.id, "amount": amount, "reason": reason, "status": "succeeded"}))
}
