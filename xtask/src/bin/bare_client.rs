//! The limit that `cargo xtask bench` measures against: the same requests by the HTTP library alone, and nothing else.
//!
//! `bare_client chain BASE N` follows N links one after another; `bare_client many BASE N CONCURRENCY` asks for `/one`
//! N times over at most CONCURRENCY connections; `bare_client big BASE` reads the large document and drops it.

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

type Bare = Client<HttpConnector, Empty<bytes::Bytes>>;
type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &[String]) -> Result<(), AnyError> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Bare = Client::builder(TokioExecutor::new()).build(connector);
    match arguments {
        [mode, base, count] if mode == "chain" => {
            for link in 0..count.parse::<usize>()? {
                get(&client, &format!("{base}/chain/{link}")).await?;
            }
        }
        [mode, base, count, concurrency] if mode == "many" => {
            many(client, base, count.parse()?, concurrency.parse()?).await?;
        }
        [mode, base] if mode == "big" => {
            get(&client, &format!("{base}/big")).await?;
        }
        _ => return Err("usage: bare_client chain BASE N | many BASE N CONCURRENCY | big BASE".into()),
    }
    Ok(())
}

async fn many(client: Bare, base: &str, count: usize, concurrency: usize) -> Result<(), AnyError> {
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..concurrency {
        let (client, url) = (client.clone(), format!("{base}/one"));
        let share = count / concurrency + usize::from(lane < count % concurrency);
        lanes.spawn(async move {
            for _ in 0..share {
                get(&client, &url).await?;
            }
            Ok::<(), AnyError>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

async fn get(client: &Bare, url: &str) -> Result<usize, AnyError> {
    let response = client.get(url.parse()?).await?;
    if response.status() != hyper::StatusCode::OK {
        return Err(format!("{url} answered {}", response.status()).into());
    }
    Ok(response.into_body().collect().await?.to_bytes().len())
}
