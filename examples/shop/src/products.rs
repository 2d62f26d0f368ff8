//! The product service: products and how many of each there are. Orders take from the stock when their event comes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::answer::{Answer, Refusal, created, ok};
use crate::consumer::{Aftermath, Incoming};
use crate::events::Event;
use crate::fields::Fields;
use crate::money::Money;
use crate::page::{self, Page, Query};
use crate::shop::{Shop, id, new_id, now};

/// A product as callers see one.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
struct Product {
    id: Uuid,
    name: String,
    description: String,
    category: String,
    price: Money,
    inventory: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The columns of a product.
macro_rules! columns {
    () => {
        "id, name, description, category, (price * 100)::bigint as price, inventory, created_at, updated_at"
    };
}

/// Which products a list has: `$1` to `$5`.
macro_rules! wanted {
    () => {
        "($1::text is null or strpos(lower(name), lower($1)) > 0 or strpos(lower(description), lower($1)) > 0) \
         and ($2::text is null or category = $2) \
         and ($3::bigint is null or price * 100 >= $3) and ($4::bigint is null or price * 100 <= $4) \
         and ($5::boolean is null or (inventory > 0) = $5)"
    };
}

impl Product {
    fn body(&self) -> Value {
        json!(self)
    }
}

pub(crate) fn routes() -> Router<Arc<Shop>> {
    Router::new()
        .route("/api/v1/products", get(list).post(create))
        .route("/api/v1/products/{id}", get(show).put(change).patch(change).delete(remove))
        .route("/api/v1/products/{id}/inventory", get(inventory).put(set_inventory).patch(set_inventory))
}

async fn create(State(shop): State<Arc<Shop>>, mut fields: Fields) -> Answer {
    let name = fields.required_text("name");
    fields.need("price");
    let price = fields.money("price").unwrap_or(Money::ZERO);
    let (description, category) = (fields.text("description"), fields.text("category"));
    let inventory = fields.count("inventory", 0);
    fields.finish()?;
    let product: Product = sqlx::query_as(concat!(
        "insert into product_service.products (id, name, description, category, price, inventory, created_at, updated_at) \
         values ($1, $2, $3, $4, $5::bigint::numeric / 100, $6, $7, $7) returning ",
        columns!()
    ))
    .bind(new_id())
    .bind(name)
    .bind(description.unwrap_or_default())
    .bind(category.unwrap_or_default())
    .bind(price)
    .bind(inventory.unwrap_or(0))
    .bind(now())
    .fetch_one(&shop.db)
    .await?;
    changed(&shop, "product.created", &product).await?;
    created(product.body())
}

/// Keeps a product's state at hand, and tells that it is new.
async fn changed(shop: &Shop, kind: &'static str, product: &Product) -> Result<(), Refusal> {
    let id = product.id.to_string();
    shop.cache.keep("product", &id, &product.body()).await?;
    let fields = json!({
        "product_id": id, "name": product.name, "category": product.category, "price": product.price,
        "inventory": product.inventory,
    });
    shop.events.publish(Event::new(kind, &id, fields)).await
}

async fn find(shop: &Shop, text: &str) -> Result<Product, Refusal> {
    let id = id(text).ok_or(Refusal::NotFound("product"))?;
    let found = sqlx::query_as(concat!("select ", columns!(), " from product_service.products where id = $1")).bind(id);
    found.fetch_optional(&shop.db).await?.ok_or(Refusal::NotFound("product"))
}

async fn show(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Answer {
    if let Some(product) = shop.cache.find("product", &text).await? {
        return ok(product);
    }
    let product = find(&shop, &text).await?;
    shop.cache.keep("product", &product.id.to_string(), &product.body()).await?;
    ok(product.body())
}

async fn list(State(shop): State<Arc<Shop>>, query: Query) -> Answer {
    let page = Page::of(&query)?;
    let search = query.get("search").or(query.get("name"));
    let category = query.get("category");
    let (least, most) = (page::money(&query, "min_price")?, page::money(&query, "max_price")?);
    let in_stock = page::flag(&query, "in_stock")?;
    let products: Vec<Product> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        " from product_service.products where ",
        wanted!(),
        " order by created_at desc, id limit $6 offset $7"
    ))
    .bind(search)
    .bind(category)
    .bind(least)
    .bind(most)
    .bind(in_stock)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(&shop.db)
    .await?;
    let total: i64 = sqlx::query_scalar(concat!("select count(*) from product_service.products where ", wanted!()))
        .bind(search)
        .bind(category)
        .bind(least)
        .bind(most)
        .bind(in_stock)
        .fetch_one(&shop.db)
        .await?;
    ok(page.body("products", products.iter().map(Product::body).collect(), total))
}

async fn change(State(shop): State<Arc<Shop>>, Path(text): Path<String>, mut fields: Fields) -> Answer {
    let before = find(&shop, &text).await?;
    if fields.lacks_all(&["name", "description", "category", "price", "inventory"]) {
        fields.wrong("name, description, category, price or inventory", "is required");
    }
    let (name, description, category) = (fields.text("name"), fields.text("description"), fields.text("category"));
    let (price, inventory) = (fields.money("price"), fields.count("inventory", 0));
    fields.finish()?;
    let product: Option<Product> = sqlx::query_as(concat!(
        "update product_service.products set name = coalesce($2, name), description = coalesce($3, description), \
         category = coalesce($4, category), price = coalesce($5::bigint::numeric / 100, price), \
         inventory = coalesce($6, inventory), updated_at = $7 where id = $1 returning ",
        columns!()
    ))
    .bind(before.id)
    .bind(name)
    .bind(description)
    .bind(category)
    .bind(price)
    .bind(inventory)
    .bind(now())
    .fetch_optional(&shop.db)
    .await?;
    let product = product.ok_or(Refusal::NotFound("product"))?;
    changed(&shop, "product.updated", &product).await?;
    if product.inventory != before.inventory {
        shop.events.publish(stock_event(&product.id, before.inventory, product.inventory, "update")).await?;
    }
    ok(product.body())
}

async fn remove(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Result<StatusCode, Refusal> {
    let product = find(&shop, &text).await?;
    let id = product.id.to_string();
    sqlx::query("delete from product_service.products where id = $1").bind(product.id).execute(&shop.db).await?;
    shop.cache.forget("product", &id).await?;
    let fields = json!({"product_id": id, "name": product.name});
    shop.events.publish(Event::new("product.deleted", &id, fields)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn inventory(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Answer {
    let product = find(&shop, &text).await?;
    ok(json!({"product_id": product.id, "inventory": product.inventory}))
}

async fn set_inventory(State(shop): State<Arc<Shop>>, Path(text): Path<String>, mut fields: Fields) -> Answer {
    fields.need("inventory");
    let inventory = fields.count("inventory", 0);
    fields.finish()?;
    let id = id(&text).ok_or(Refusal::NotFound("product"))?;
    let mut transaction = shop.db.begin().await?;
    let before = locked_inventory(&mut transaction, id).await?.ok_or(Refusal::NotFound("product"))?;
    let product = write_inventory(&mut transaction, id, inventory.unwrap_or(before)).await?;
    transaction.commit().await?;
    shop.cache.keep("product", &id.to_string(), &product.body()).await?;
    shop.events.publish(stock_event(&id, before, product.inventory, "set")).await?;
    ok(product.body())
}

/// How many there are; nobody else changes it before this transaction ends.
async fn locked_inventory(transaction: &mut Transaction<'_, Postgres>, id: Uuid) -> Result<Option<i64>, sqlx::Error> {
    let found = sqlx::query_scalar("select inventory from product_service.products where id = $1 for update").bind(id);
    found.fetch_optional(&mut **transaction).await
}

async fn write_inventory(
    transaction: &mut Transaction<'_, Postgres>,
    id: Uuid,
    inventory: i64,
) -> Result<Product, sqlx::Error> {
    let statement = sqlx::query_as(concat!(
        "update product_service.products set inventory = $2, updated_at = $3 where id = $1 returning ",
        columns!()
    ));
    statement.bind(id).bind(inventory).bind(now()).fetch_one(&mut **transaction).await
}

fn stock_event(id: &Uuid, old: i64, new: i64, reason: &str) -> Event {
    let fields = json!({
        "product_id": id, "old_inventory": old, "new_inventory": new, "change": new - old, "reason": reason,
    });
    Event::new("product.inventory.changed", &id.to_string(), fields)
}

/// What an order's event does to the stock: an order that was placed takes from it, a cancelled one gives back.
pub(crate) async fn follow_orders(
    transaction: &mut Transaction<'_, Postgres>,
    incoming: &Incoming,
) -> Result<Aftermath, sqlx::Error> {
    let mut quantities: HashMap<Uuid, i64> = HashMap::new();
    for item in incoming.body["items"].as_array().into_iter().flatten() {
        // Items without a product of ours have no stock here.
        if let (Some(id), Some(quantity)) = (item["product_id"].as_str().and_then(id), item["quantity"].as_i64()) {
            *quantities.entry(id).or_default() += quantity;
        }
    }
    // In one order everywhere, so that two transactions never wait for each other.
    let mut quantities: Vec<_> = quantities.into_iter().collect();
    quantities.sort_unstable();
    let sign = if incoming.kind == "order.cancelled" { 1 } else { -1 };
    let mut aftermath = Aftermath::default();
    for (id, quantity) in quantities {
        let Some(before) = locked_inventory(transaction, id).await? else { continue };
        // Orders that were placed at the same moment may ask for more than there is; the last gets what is left.
        let after = before.saturating_add(sign * quantity).clamp(0, crate::fields::MOST);
        let product = write_inventory(transaction, id, after).await?;
        aftermath.keep.push(("product", id.to_string(), product.body()));
        aftermath.events.push(stock_event(&id, before, after, &incoming.kind));
    }
    Ok(aftermath)
}
