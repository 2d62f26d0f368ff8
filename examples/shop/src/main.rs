//! A small shop of six services, as a system to test: over HTTP and gRPC, on PostgreSQL, Redis and Kafka.
//!
//! It uses nothing of TestMesh. The services share a process and nothing else: each has a listener and a schema of its own,
//! and they meet over HTTP and Kafka.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that people run in a terminal")]

mod answer;
mod cache;
mod consumer;
mod events;
mod fields;
mod kafka;
mod listeners;
mod money;
mod neighbours;
mod notifications;
mod orders;
mod page;
mod payments;
mod products;
mod recommendations;
mod sessions;
mod settings;
mod shop;
mod storefront;
mod users;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;

use crate::cache::Cache;
use crate::consumer::Follower;
use crate::events::{Events, TOPICS};
use crate::kafka::Kafka;
use crate::listeners::Listeners;
use crate::neighbours::Neighbours;
use crate::settings::Settings;
use crate::shop::Shop;

/// Connections to PostgreSQL at most.
const CONNECTIONS: u32 = 16;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Settings::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("the shop cannot open: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says something to whoever watches.
fn tell(text: &str) {
    eprintln!("demo-shop: {text}");
}

/// Opens the shop and keeps it open until the process is asked to end.
async fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    let listeners = Listeners::bind(&settings).await?;
    let db = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&settings.database_url).await;
    let db = db.map_err(|error| format!("PostgreSQL: {error}"))?;
    sqlx::raw_sql(include_str!("../sql/schema.sql")).execute(&db).await.map_err(|error| format!("schema: {error}"))?;
    let cache = Cache::connect(&settings.redis_url).await.map_err(|error| format!("Redis: {error}"))?;
    let mut kafka = Kafka::new(&settings.kafka_brokers);
    kafka.create_topics(TOPICS).await.map_err(|error| format!("Kafka: {error}"))?;
    let (events, publisher) = Events::new(kafka);
    let neighbours = Neighbours::new(listeners.users.url(), listeners.products.url())?;
    let shop = Arc::new(Shop { settings, db, cache, events, neighbours });

    let mut tasks = JoinSet::new();
    tasks.spawn(publisher);
    storefront::seed(&shop).await.map_err(|error| format!("first account: {error}"))?;
    for follower in Follower::ALL {
        tasks.spawn(follower.run(Arc::clone(&shop)));
    }
    let addresses = listeners.addresses();
    listeners.serve(&shop, &mut tasks)?;
    println!("{}", serde_json::json!({"ready": true, "services": addresses}));

    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        // Cancel-safe: a signal that is not seen here ends nothing that was begun.
        _ = tokio::signal::ctrl_c() => {}
        // Cancel-safe per docs on `recv()`.
        _ = terminated.recv() => {}
        // Cancel-safe per docs on `join_next()`.
        ended = tasks.join_next() => return Err(format!("a part of it ended: {ended:?}").into()),
    }
    tasks.shutdown().await;
    Ok(())
}
