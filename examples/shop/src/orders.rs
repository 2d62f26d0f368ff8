//! The order service: it asks the user and the product service before it takes an order.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post, put};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::answer::{Answer, Refusal, created, ok};
use crate::events::Event;
use crate::fields::Fields;
use crate::money::Money;
use crate::page::{Page, Query};
use crate::shop::{Shop, id, new_id, now};

/// Which states may follow a state.
const FLOW: &[(&str, &[&str])] = &[
    ("pending", &["confirmed", "paid", "processing", "shipped", "delivered", "completed", "cancelled"]),
    ("confirmed", &["paid", "processing", "shipped", "delivered", "completed", "cancelled"]),
    ("paid", &["processing", "shipped", "delivered", "completed", "cancelled"]),
    ("processing", &["paid", "shipped", "delivered", "completed", "cancelled"]),
    ("shipped", &["delivered", "completed"]),
    ("delivered", &["completed"]),
    ("completed", &[]),
    ("cancelled", &[]),
];

/// An order as callers see one.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
struct Order {
    id: Uuid,
    user_id: String,
    status: String,
    total: Money,
    #[sqlx(skip)]
    items: Vec<Item>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A line of an order.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Item {
    id: Uuid,
    order_id: Uuid,
    product_id: String,
    quantity: i64,
    unit_price: Money,
    /// Of all pieces together.
    price: Money,
}

/// The columns of an order.
macro_rules! columns {
    () => {
        "id, user_id, status, (total * 100)::bigint as total, created_at, updated_at"
    };
}

impl Order {
    fn body(&self) -> Value {
        json!(self)
    }

    fn event(&self, kind: &'static str) -> Event {
        let item = |item: &Item| {
            let Item { product_id, quantity, unit_price, price, .. } = item;
            json!({"product_id": product_id, "quantity": quantity, "unit_price": unit_price, "price": price})
        };
        let items: Vec<Value> = self.items.iter().map(item).collect();
        let fields = json!({
            "order_id": self.id, "user_id": self.user_id, "status": self.status, "total": self.total, "items": items,
        });
        Event::new(kind, &self.id.to_string(), fields)
    }

    fn status_event(&self, before: Option<&str>) -> Event {
        let fields = json!({
            "order_id": self.id, "user_id": self.user_id, "old_status": before, "new_status": self.status,
            "status": self.status,
        });
        Event::new("order.status.changed", &self.id.to_string(), fields)
    }
}

pub(crate) fn routes() -> Router<Arc<Shop>> {
    Router::new()
        .route("/api/v1/orders", get(list).post(create))
        .route("/api/v1/orders/{id}", get(show).delete(remove))
        .route("/api/v1/orders/{id}/status", put(set_status).patch(set_status))
        .route("/api/v1/orders/{id}/cancel", post(cancel).put(cancel))
}

/// A line that a caller wants.
pub(crate) struct Wish {
    pub(crate) product_id: String,
    pub(crate) quantity: i64,
    pub(crate) unit_price: Money,
}

async fn create(State(shop): State<Arc<Shop>>, headers: HeaderMap, mut fields: Fields) -> Answer {
    let user_id = fields.required_text("user_id");
    let mut quantities: Vec<(String, i64)> = Vec::new();
    for mut item in fields.list("items") {
        item.need("quantity");
        let (product, quantity) = (item.required_text("product_id"), item.count("quantity", 1).unwrap_or(0));
        quantities.push((product, quantity));
        fields.take_problems(item);
    }
    fields.finish()?;
    if shop.neighbours.user(&user_id).await?.is_none() {
        return Err(Refusal::Unacceptable("user_not_found", format!("there is no user {user_id}")));
    }
    let wishes = price(&shop, quantities).await?;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let (is_new, order) = place(&shop, &user_id, &wishes, key).await?;
    if is_new { created(order) } else { ok(order) }
}

/// Finds what each line costs, and that there is enough of it.
async fn price(shop: &Shop, quantities: Vec<(String, i64)>) -> Result<Vec<Wish>, Refusal> {
    let mut asked: HashMap<String, i64> = HashMap::new();
    let mut wishes = Vec::with_capacity(quantities.len());
    for (product_id, quantity) in quantities {
        let product =
            shop.neighbours.product(&product_id).await?.ok_or_else(|| {
                Refusal::Unacceptable("product_not_found", format!("there is no product {product_id}"))
            })?;
        let all = asked.entry(product_id.clone()).or_default();
        *all += quantity;
        let there = product["inventory"].as_i64().unwrap_or(0);
        if *all > there {
            let problem = format!("insufficient inventory: {all} of product {product_id} asked for, {there} there");
            return Err(Refusal::Unacceptable("insufficient_inventory", problem));
        }
        let unit_price = product["price"].as_f64().and_then(Money::of);
        let unit_price = unit_price.ok_or_else(|| Refusal::Failed("a product has no price".to_owned()))?;
        wishes.push(Wish { product_id, quantity, unit_price });
    }
    Ok(wishes)
}

/// Stores an order and tells everybody. With a key that this user has used already, it is the order of then.
pub(crate) async fn place(
    shop: &Shop,
    user_id: &str,
    wishes: &[Wish],
    key: Option<&str>,
) -> Result<(bool, Value), Refusal> {
    let too_much = || Refusal::field("items", "cost too much together");
    let mut total = Money::ZERO;
    for wish in wishes {
        let price = wish.unit_price.times(wish.quantity).ok_or_else(too_much)?;
        total = total.plus(price).ok_or_else(too_much)?;
    }
    let mut transaction = shop.db.begin().await?;
    let order: Option<Order> = sqlx::query_as(concat!(
        "insert into order_service.orders (id, user_id, status, total, idempotency_key, created_at, updated_at) \
         values ($1, $2, 'pending', $3::bigint::numeric / 100, $4, $5, $5) \
         on conflict (user_id, idempotency_key) do nothing returning ",
        columns!()
    ))
    .bind(new_id())
    .bind(user_id)
    .bind(total)
    .bind(key)
    .bind(now())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(mut order) = order else {
        transaction.rollback().await?;
        let first =
            sqlx::query_scalar("select id from order_service.orders where user_id = $1 and idempotency_key = $2");
        let first: Uuid = first.bind(user_id).bind(key).fetch_one(&shop.db).await?;
        return Ok((false, find(shop, &first.to_string()).await?.body()));
    };
    for wish in wishes {
        order.items.push(add_item(&mut transaction, order.id, wish).await?);
    }
    transaction.commit().await?;
    shop.cache.keep("order", &order.id.to_string(), &order.body()).await?;
    shop.events.publish(order.event("order.placed")).await?;
    shop.events.publish(order.status_event(None)).await?;
    Ok((true, order.body()))
}

async fn add_item(transaction: &mut Transaction<'_, Postgres>, order: Uuid, wish: &Wish) -> Result<Item, sqlx::Error> {
    sqlx::query_as(
        "insert into order_service.order_items (id, order_id, product_id, quantity, unit_price, price, created_at) \
         values ($1, $2, $3, $4, $5::bigint::numeric / 100, $5::bigint::numeric / 100 * $4, $6) \
         returning id, order_id, product_id, quantity, (unit_price * 100)::bigint as unit_price, \
         (price * 100)::bigint as price",
    )
    .bind(new_id())
    .bind(order)
    .bind(&wish.product_id)
    .bind(wish.quantity)
    .bind(wish.unit_price)
    .bind(now())
    .fetch_one(&mut **transaction)
    .await
}

async fn find(shop: &Shop, text: &str) -> Result<Order, Refusal> {
    let id = id(text).ok_or(Refusal::NotFound("order"))?;
    let found = sqlx::query_as(concat!("select ", columns!(), " from order_service.orders where id = $1")).bind(id);
    let order: Order = found.fetch_optional(&shop.db).await?.ok_or(Refusal::NotFound("order"))?;
    let mut orders = vec![order];
    load_items(shop, &mut orders).await?;
    orders.pop().ok_or(Refusal::NotFound("order"))
}

async fn load_items(shop: &Shop, orders: &mut [Order]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id).collect();
    let items: Vec<Item> = sqlx::query_as(
        "select id, order_id, product_id, quantity, (unit_price * 100)::bigint as unit_price, \
         (price * 100)::bigint as price from order_service.order_items where order_id = any($1) order by created_at, id",
    )
    .bind(&ids)
    .fetch_all(&shop.db)
    .await?;
    for item in items {
        if let Some(order) = orders.iter_mut().find(|order| order.id == item.order_id) {
            order.items.push(item);
        }
    }
    Ok(())
}

async fn show(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Answer {
    if let Some(order) = shop.cache.find("order", &text).await? {
        return ok(order);
    }
    let order = find(&shop, &text).await?;
    shop.cache.keep("order", &order.id.to_string(), &order.body()).await?;
    ok(order.body())
}

async fn list(State(shop): State<Arc<Shop>>, query: Query) -> Answer {
    let page = Page::of(&query)?;
    let (user, status) = (query.get("user_id"), query.get("status"));
    let mut orders: Vec<Order> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        " from order_service.orders \
         where ($1::text is null or user_id = $1) and ($2::text is null or status = $2) \
         order by created_at desc, id limit $3 offset $4"
    ))
    .bind(user)
    .bind(status)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(&shop.db)
    .await?;
    let total: i64 = sqlx::query_scalar(
        "select count(*) from order_service.orders \
         where ($1::text is null or user_id = $1) and ($2::text is null or status = $2)",
    )
    .bind(user)
    .bind(status)
    .fetch_one(&shop.db)
    .await?;
    load_items(&shop, &mut orders).await?;
    ok(page.body("orders", orders.iter().map(Order::body).collect(), total))
}

async fn set_status(State(shop): State<Arc<Shop>>, Path(text): Path<String>, mut fields: Fields) -> Answer {
    let status = fields.required_text("status");
    if !status.is_empty() && !FLOW.iter().any(|(known, _)| *known == status) {
        let known: Vec<&str> = FLOW.iter().map(|(known, _)| *known).collect();
        fields.wrong("status", &format!("must be one of {}", known.join(", ")));
    }
    fields.finish()?;
    move_to(&shop, &text, &status).await
}

async fn cancel(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Answer {
    move_to(&shop, &text, "cancelled").await
}

/// Gives an order another state, if that may follow its own.
async fn move_to(shop: &Shop, text: &str, status: &str) -> Answer {
    let mut order = find(shop, text).await?;
    let before = order.status.clone();
    if before == status {
        return ok(order.body());
    }
    let next = FLOW.iter().find(|(known, _)| *known == before).map_or(&[][..], |(_, next)| next);
    if !next.contains(&status) {
        return Err(Refusal::Conflict(format!("an order that is {before} cannot become {status}")));
    }
    let moved =
        sqlx::query("update order_service.orders set status = $3, updated_at = $4 where id = $1 and status = $2")
            .bind(order.id)
            .bind(&before)
            .bind(status)
            .bind(now())
            .execute(&shop.db)
            .await?;
    if moved.rows_affected() == 0 {
        return Err(Refusal::Conflict("the order has changed meanwhile".to_owned()));
    }
    order = find(shop, text).await?;
    shop.cache.keep("order", &order.id.to_string(), &order.body()).await?;
    shop.events.publish(order.status_event(Some(&before))).await?;
    if status == "cancelled" {
        shop.events.publish(order.event("order.cancelled")).await?;
    }
    ok(order.body())
}

async fn remove(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Result<StatusCode, Refusal> {
    let order = find(&shop, &text).await?;
    let id = order.id.to_string();
    sqlx::query("delete from order_service.orders where id = $1").bind(order.id).execute(&shop.db).await?;
    shop.cache.forget("order", &id).await?;
    shop.events.publish(order.event("order.deleted")).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_leads_to_known_ones_and_never_back() {
        for (state, next) in FLOW {
            for state_after in *next {
                assert!(FLOW.iter().any(|(known, _)| known == state_after), "{state} leads to {state_after}");
                assert_ne!(*state_after, "pending", "{state}");
            }
        }
    }
}
