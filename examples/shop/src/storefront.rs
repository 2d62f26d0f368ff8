//! The shop's first interface, below `/api` without a version: accounts have passwords, and orders name what they want by
//! SKU and price. It keeps its data where the services of today do.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use serde_json::json;

use crate::answer::{Answer, Refusal, created, ok};
use crate::fields::Fields;
use crate::money::Money;
use crate::orders::{self, Wish};
use crate::sessions;
use crate::shop::Shop;
use crate::users::{self, NewUser};

/// The account that a shop has from its beginning: name, e-mail address, password.
const ACCOUNT: (&str, &str, &str) = ("Alice Smith", "alice@example.com", "secret123");

/// What the user service has of it.
pub(crate) fn user_routes() -> Router<Arc<Shop>> {
    Router::new()
        .route("/api/users", post(register))
        .route("/api/users/{id}", get(user))
        .route("/api/login", post(login))
}

/// What the order service has of it.
pub(crate) fn order_routes() -> Router<Arc<Shop>> {
    Router::new().route("/api/orders", post(order))
}

/// Makes the account of the beginning, unless it is there. Nobody is told: it always was.
pub(crate) async fn seed(shop: &Shop) -> Result<(), sqlx::Error> {
    let (name, email, password) = ACCOUNT;
    let (name, email) = (name.to_owned(), email.to_owned());
    users::insert(shop, &NewUser { name, email, password_hash: Some(sessions::hash(password)) }).await?;
    sqlx::query(
        "insert into mocks.mock_servers (name, base_url, status) values ('bank', '', 'running') \
         on conflict (name) do nothing",
    )
    .execute(&shop.db)
    .await?;
    Ok(())
}

/// Registers an account. Who registers again with the same password gets the same account again.
async fn register(State(shop): State<Arc<Shop>>, fields: Fields) -> Answer {
    let (new, password) = NewUser::read(fields, true)?;
    if let Some(user) = users::add(&shop, &new).await? {
        return created(user.body());
    }
    let taken = || Refusal::Conflict("the e-mail address has an account already".to_owned());
    let user = users::with_email(&shop, &new.email).await?.ok_or_else(taken)?;
    match (&user.password_hash, password) {
        (Some(hash), Some(password)) if sessions::is_password(hash, &password) => created(user.body()),
        _ => Err(taken()),
    }
}

async fn user(State(shop): State<Arc<Shop>>, Path(text): Path<String>) -> Answer {
    ok(users::find(&shop, &text).await?.body())
}

async fn login(State(shop): State<Arc<Shop>>, mut fields: Fields) -> Answer {
    fields.need("email");
    let email = fields.email("email").unwrap_or_default();
    let password = fields.required_text("password");
    fields.finish()?;
    let unknown = Refusal::Unauthorized("wrong e-mail address or password");
    let user = users::with_email(&shop, &email).await?.ok_or(unknown)?;
    let token = sessions::open(&shop, &user, Some(&password)).await?;
    ok(json!({"token": token, "user_id": user.id}))
}

async fn order(State(shop): State<Arc<Shop>>, headers: HeaderMap, mut fields: Fields) -> Answer {
    let session = sessions::session(&shop, &headers).await?;
    let user_id = fields.text("user_id");
    let mut wishes = Vec::new();
    let mut sum = Some(Money::ZERO);
    for mut item in fields.list("items") {
        item.need("qty");
        item.need("price");
        let (product_id, quantity) = (item.required_text("sku"), item.count("qty", 1).unwrap_or(0));
        let unit_price = item.money("price").unwrap_or(Money::ZERO);
        sum = sum.and_then(|sum| sum.plus(unit_price.times(quantity)?));
        wishes.push(Wish { product_id, quantity, unit_price });
        fields.take_problems(item);
    }
    if fields.money("total").is_some_and(|total| Some(total) != sum) {
        fields.wrong("total", "is not the sum of the items");
    }
    fields.finish()?;
    let own = session["user_id"].as_str().unwrap_or_default();
    if user_id.is_some_and(|user| user != own) {
        return Err(Refusal::Unauthorized("the session is somebody else's"));
    }
    let (_, order) = orders::place(&shop, own, &wishes, None).await?;
    created(order)
}
