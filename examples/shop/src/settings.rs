//! What the shop is told, by flags or variables.

use std::net::SocketAddr;

use clap::Parser;

/// A small shop of six services, as a system to test: users, products, orders, notifications, recommendations, payments.
///
/// It needs a PostgreSQL, a Redis and a Kafka server, makes its schemas and topics itself, and prints one line of JSON
/// with the addresses of its services when it is ready.
#[derive(Debug, Clone, Parser)]
#[command(name = "demo-shop", version)]
pub(crate) struct Settings {
    /// The database, with a login that may make schemas.
    #[arg(
        long,
        env = "SHOP_DATABASE_URL",
        value_name = "URL",
        default_value = "postgres://root:admin@localhost:5432/postgres?sslmode=disable",
        hide_env_values = true
    )]
    pub(crate) database_url: String,
    /// The cache and the sessions.
    #[arg(
        long,
        env = "SHOP_REDIS_URL",
        value_name = "URL",
        default_value = "redis://localhost:6379",
        hide_env_values = true
    )]
    pub(crate) redis_url: String,
    /// host:port of one or more brokers, separated by commas.
    #[arg(
        long,
        env = "SHOP_KAFKA_BROKERS",
        value_name = "LIST",
        default_value = "localhost:9092",
        value_delimiter = ','
    )]
    pub(crate) kafka_brokers: Vec<String>,
    /// Where the user service listens; port 0 takes a free one, here and below.
    #[arg(long, env = "SHOP_USER_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5001")]
    pub(crate) user_listen: SocketAddr,
    /// The product service.
    #[arg(long, env = "SHOP_PRODUCT_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5002")]
    pub(crate) product_listen: SocketAddr,
    /// The order service.
    #[arg(long, env = "SHOP_ORDER_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5003")]
    pub(crate) order_listen: SocketAddr,
    /// The notification service.
    #[arg(long, env = "SHOP_NOTIFICATION_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5004")]
    pub(crate) notification_listen: SocketAddr,
    /// The recommendation service over gRPC, with reflection.
    #[arg(long, env = "SHOP_RECOMMENDATION_GRPC_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5005")]
    pub(crate) recommendation_grpc_listen: SocketAddr,
    /// The recommendation service over HTTP.
    #[arg(long, env = "SHOP_RECOMMENDATION_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5006")]
    pub(crate) recommendation_listen: SocketAddr,
    /// The payment service.
    #[arg(long, env = "SHOP_PAYMENT_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5007")]
    pub(crate) payment_listen: SocketAddr,
    /// Where `POST /reset` puts the shop back to its beginning. Without it nothing does.
    #[arg(long, env = "SHOP_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// The key that a caller with `X-API-Key` must show.
    #[arg(long, env = "SHOP_API_KEY", value_name = "TEXT", default_value = "demo-api-key", hide_env_values = true)]
    pub(crate) api_key: String,
    /// A login with an e-mail address that nobody has is answered with 404, and not with 401 as every other failed login.
    #[arg(long, env = "SHOP_REVEAL_UNKNOWN_EMAILS")]
    pub(crate) reveal_unknown_emails: bool,
}
