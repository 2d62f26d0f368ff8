//! What a service asks of another one: over HTTP, as any other caller would.

use std::time::Duration;

use serde_json::Value;

use crate::answer::Refusal;

/// Most time that a neighbour gets for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The services that the order service asks.
pub(crate) struct Neighbours {
    client: reqwest::Client,
    users: String,
    products: String,
}

impl Neighbours {
    /// `users` and `products` are base URLs.
    pub(crate) fn new(users: String, products: String) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { client, users, products })
    }

    /// The user, if there is one.
    pub(crate) async fn user(&self, id: &str) -> Result<Option<Value>, Refusal> {
        self.ask(&self.users, "users", id).await
    }

    /// The product, if there is one.
    pub(crate) async fn product(&self, id: &str) -> Result<Option<Value>, Refusal> {
        self.ask(&self.products, "products", id).await
    }

    async fn ask(&self, base: &str, things: &str, id: &str) -> Result<Option<Value>, Refusal> {
        // What is no id needs no asking, and could be more than one segment of a path.
        let Some(id) = crate::shop::id(id) else { return Ok(None) };
        let answer = self.client.get(format!("{base}/api/v1/{things}/{id}")).send().await;
        let answer = answer.map_err(Refusal::failed("neighbour"))?;
        match answer.status() {
            reqwest::StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => answer.json().await.map(Some).map_err(Refusal::failed("neighbour")),
            status => Err(Refusal::Failed(format!("neighbour: `{base}` answers {status}"))),
        }
    }
}
