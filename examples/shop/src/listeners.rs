//! Where the services listen, and what they have in common: health, keys, and answers about routes that are not there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::answer::{Answer, Refusal, ok};
use crate::events::TOPICS;
use crate::kafka::Kafka;
use crate::settings::Settings;
use crate::shop::Shop;
use crate::{notifications, orders, payments, products, recommendations, sessions, storefront, users};

/// A service's listener.
pub(crate) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    async fn bind(what: &str, address: SocketAddr) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{what} at {address}: {error}"));
        let tcp = TcpListener::bind(address).await.map_err(named)?;
        let address = tcp.local_addr().map_err(named)?;
        Ok(Self { tcp, address })
    }

    /// The service's base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// All of them.
pub(crate) struct Listeners {
    pub(crate) users: Listener,
    pub(crate) products: Listener,
    orders: Listener,
    notifications: Listener,
    recommendations_grpc: Listener,
    recommendations: Listener,
    payments: Listener,
    admin: Option<Listener>,
}

impl Listeners {
    pub(crate) async fn bind(settings: &Settings) -> io::Result<Self> {
        let admin = match settings.admin_listen {
            Some(address) => Some(Listener::bind("the reset", address).await?),
            None => None,
        };
        Ok(Self {
            users: Listener::bind("the user service", settings.user_listen).await?,
            products: Listener::bind("the product service", settings.product_listen).await?,
            orders: Listener::bind("the order service", settings.order_listen).await?,
            notifications: Listener::bind("the notification service", settings.notification_listen).await?,
            recommendations_grpc: Listener::bind("recommendations (gRPC)", settings.recommendation_grpc_listen).await?,
            recommendations: Listener::bind("the recommendation service", settings.recommendation_listen).await?,
            payments: Listener::bind("the payment service", settings.payment_listen).await?,
            admin,
        })
    }

    /// Where each is.
    pub(crate) fn addresses(&self) -> Value {
        json!({
            "user": self.users.address, "product": self.products.address, "order": self.orders.address,
            "notification": self.notifications.address, "recommendation_grpc": self.recommendations_grpc.address,
            "recommendation": self.recommendations.address, "payment": self.payments.address,
            "admin": self.admin.as_ref().map(|admin| admin.address),
        })
    }

    /// Serves on all of them.
    pub(crate) fn serve(
        self,
        shop: &Arc<Shop>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), tonic_reflection::server::Error> {
        let users = users::routes().merge(sessions::routes()).merge(storefront::user_routes());
        let orders = orders::routes().merge(storefront::order_routes());
        let services = [
            (self.users, service("user-service", users, shop)),
            (self.products, service("product-service", products::routes(), shop)),
            (self.orders, service("order-service", orders, shop)),
            (self.notifications, service("notification-service", notifications::routes(), shop)),
            (self.recommendations, service("recommendation-service", recommendations::routes(), shop)),
            (self.payments, service("payment-service", payments::routes(), shop)),
            (self.recommendations_grpc, recommendations::grpc(Arc::clone(shop))?),
        ];
        let admin = Router::new().route("/reset", post(reset)).with_state(Arc::clone(shop));
        for (listener, routes) in services.into_iter().chain(self.admin.map(|listener| (listener, admin))) {
            tasks.spawn(async move {
                if let Err(error) = axum::serve(listener.tcp, routes).await {
                    crate::tell(&format!("{}: {error}", listener.address));
                }
            });
        }
        Ok(())
    }
}

/// A service's routes with what all of them have.
fn service(name: &'static str, routes: Router<Arc<Shop>>, shop: &Arc<Shop>) -> Router {
    let health = get(move |State(shop): State<Arc<Shop>>| health(shop, name));
    routes
        .route("/health", health.clone())
        .route("/healthz", health.clone())
        .route("/api/health", health.clone())
        .route("/api/v1/health", health)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(Arc::clone(shop), check_key))
        .with_state(Arc::clone(shop))
}

async fn health(shop: Arc<Shop>, name: &'static str) -> (StatusCode, Json<Value>) {
    let database = sqlx::query_scalar::<_, i32>("select 1").fetch_one(&shop.db).await.is_ok();
    let cache = shop.cache.is_well().await;
    let (status, word) =
        if database && cache { (StatusCode::OK, "healthy") } else { (StatusCode::SERVICE_UNAVAILABLE, "unhealthy") };
    (status, Json(json!({"status": word, "service": name, "checks": {"database": database, "cache": cache}})))
}

async fn no_route(uri: Uri) -> Refusal {
    crate::tell(&format!("no route `{}`", uri.path()));
    Refusal::NotFound("route")
}

async fn no_method() -> (StatusCode, Json<Value>) {
    let body = json!({"error": "the route does not take this method", "code": "method_not_allowed"});
    (StatusCode::METHOD_NOT_ALLOWED, Json(body))
}

/// A key that is shown has to be the right one. None is needed.
async fn check_key(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Result<Response, Refusal> {
    match request.headers().get("x-api-key") {
        Some(key) if key.as_bytes() != shop.settings.api_key.as_bytes() => Err(Refusal::Unauthorized("wrong API key")),
        _ => Ok(next.run(request).await),
    }
}

/// Puts the shop back to its beginning: no event, nothing stored, nothing cached, the first account.
async fn reset(State(shop): State<Arc<Shop>>) -> Answer {
    let mut kafka = Kafka::new(&shop.settings.kafka_brokers);
    kafka.clear(TOPICS).await.map_err(Refusal::failed("events"))?;
    sqlx::raw_sql(include_str!("../sql/reset.sql")).execute(&shop.db).await?;
    shop.cache.clear().await?;
    storefront::seed(&shop).await?;
    ok(json!({"reset": true}))
}
