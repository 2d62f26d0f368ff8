//! The recommendation service: it learns from orders, and answers over HTTP and gRPC.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde_json::json;
use sqlx::{Postgres, Transaction};

use self::wire::recommendation_service_server::{RecommendationService, RecommendationServiceServer};
use self::wire::{GetRecommendationsRequest, GetRecommendationsResponse};
use crate::answer::{Answer, ok};
use crate::consumer::{Aftermath, Incoming};
use crate::page::{Page, Query};
use crate::shop::Shop;

/// What `proto/recommendation.proto` describes.
#[allow(clippy::all, clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]
#[allow(missing_docs, unreachable_pub, reason = "generated code")]
mod wire {
    tonic::include_proto!("recommendation");
}

/// Products when the request names no limit, and the most of them.
const USUAL: i64 = 10;
const MOST: i64 = 100;

pub(crate) fn routes() -> Router<Arc<Shop>> {
    Router::new().route("/api/v1/recommendations/{user_id}", get(show))
}

/// The gRPC side, which describes itself to callers that ask.
pub(crate) fn grpc(shop: Arc<Shop>) -> Result<Router, tonic_reflection::server::Error> {
    let descriptors = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors"));
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(descriptors);
    Ok(Router::new()
        .route_service("/recommendation.RecommendationService/{method}", RecommendationServiceServer::new(Grpc(shop)))
        .route_service("/grpc.reflection.v1.ServerReflection/{method}", reflection().build_v1()?)
        .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", reflection().build_v1alpha()?))
}

struct Grpc(Arc<Shop>);

#[tonic::async_trait]
impl RecommendationService for Grpc {
    async fn get_recommendations(
        &self,
        request: tonic::Request<GetRecommendationsRequest>,
    ) -> Result<tonic::Response<GetRecommendationsResponse>, tonic::Status> {
        let GetRecommendationsRequest { user_id, limit } = request.into_inner();
        if user_id.trim().is_empty() {
            return Err(tonic::Status::invalid_argument("user_id is required"));
        }
        let limit = match i64::from(limit) {
            0 => USUAL,
            limit if limit < 0 => return Err(tonic::Status::invalid_argument("limit must not be negative")),
            limit => limit.min(MOST),
        };
        let product_ids = recommend(&self.0, &user_id, limit).await.map_err(|error| {
            crate::tell(&format!("a call failed: {error}"));
            tonic::Status::internal("internal error")
        })?;
        Ok(tonic::Response::new(GetRecommendationsResponse { user_id, product_ids }))
    }
}

async fn show(State(shop): State<Arc<Shop>>, Path(user_id): Path<String>, query: Query) -> Answer {
    let page = Page::of(&query)?;
    let limit = if query.contains_key("limit") { page.limit.min(MOST) } else { USUAL };
    let product_ids = recommend(&shop, &user_id, limit).await?;
    ok(json!({"user_id": user_id, "count": product_ids.len(), "product_ids": product_ids}))
}

/// What others bought who share a purchase with the user comes first, then what sells best; what the user has already is
/// last, to buy again.
async fn recommend(shop: &Shop, user: &str, limit: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "with own as (select product_id from recommendation_service.purchases where user_id = $1), \
         alike as (select distinct user_id from recommendation_service.purchases \
         where user_id <> $1 and product_id in (select product_id from own)) \
         select product_id from recommendation_service.purchases \
         group by product_id \
         order by product_id in (select product_id from own), \
         count(*) filter (where user_id in (select user_id from alike)) desc, sum(quantity) desc, product_id limit $2",
    )
    .bind(user)
    .bind(limit)
    .fetch_all(&shop.db)
    .await
}

/// Learns from an order.
pub(crate) async fn follow(
    transaction: &mut Transaction<'_, Postgres>,
    incoming: &Incoming,
) -> Result<Aftermath, sqlx::Error> {
    let Some(user) = incoming.body["user_id"].as_str() else { return Ok(Aftermath::default()) };
    for item in incoming.body["items"].as_array().into_iter().flatten() {
        let (Some(product), Some(quantity)) = (item["product_id"].as_str(), item["quantity"].as_i64()) else {
            continue;
        };
        sqlx::query(
            "insert into recommendation_service.purchases as known (user_id, product_id, quantity) values ($1, $2, $3) \
             on conflict (user_id, product_id) do update set quantity = known.quantity + excluded.quantity",
        )
        .bind(user)
        .bind(product)
        .bind(quantity)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(Aftermath::default())
}
