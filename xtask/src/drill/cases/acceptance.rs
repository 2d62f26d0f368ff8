//! Two servers on one PostgreSQL, each killed and started again every few seconds for a minute.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::arena::Arena;
use super::super::client;
use super::super::findings::{Findings, Spoils};
use super::super::load;
use super::super::seed::Seed;
use super::super::server::Server;

/// With Redis, which is flushed meanwhile, or without. Each server dies at times of its own, so that at times both are
/// gone. A tenth as many schedules besides say nothing about overlap and misfires.
pub(super) async fn killed_all_the_time(arena: &mut Arena<'_>, with_redis: bool) -> Result<Findings, String> {
    let (schedules, time) = arena.scale.pick((40, Duration::from_secs(20)), (100, Duration::from_mins(1)));
    let plain = schedules / 10;
    let mut spec = arena.spec()?;
    if !with_redis {
        spec.redis = None;
    }
    let mut servers = arena.servers(&spec, 2).await?;
    let mut load = load::steady(&servers[0], &arena.target, schedules, Duration::from_millis(150)).await?;
    load.add(&servers[0], plain, &json!({})).await?;
    let mut flushes = 0_u32;
    let (mut one, mut other) = (arena.seed.fork(), arena.seed.fork());
    let [first, second] = &mut servers[..] else { return Err("two servers were started".to_owned()) };
    let until = Instant::now() + time;
    let port = arena.redis_port()?;
    let flushing = async {
        while with_redis && Instant::now() < until {
            tokio::time::sleep(arena.seed.between(Duration::from_secs(2), Duration::from_secs(5))).await;
            client::redis(port, &[b"FLUSHALL"])?;
            flushes += 1;
        }
        Ok(0)
    };
    let (kills, others, _flushed) =
        tokio::try_join!(dying(first, &mut one, until), dying(second, &mut other, until), flushing)?;
    let mut findings = Findings::new(
        format!(
            "{schedules} schedules every second for {} s, 3 steps each, and {plain} with the default rules",
            time.as_secs()
        ),
        format!("{kills} and {others} SIGKILLs of 2 servers, {flushes} FLUSHALLs"),
    );
    findings.finish(arena, &mut servers, &load, Spoils::LOST).await?;
    findings.one_run_for_each_verdict(arena).await?;
    findings.lateness(arena).await?;
    Ok(findings)
}

/// Kills a server and starts it again until the time is over; how often.
async fn dying(server: &mut Server, seed: &mut Seed, until: Instant) -> Result<u32, String> {
    let mut kills = 0;
    while Instant::now() < until {
        tokio::time::sleep(seed.between(Duration::from_secs(1), Duration::from_secs(4))).await;
        server.kill();
        kills += 1;
        tokio::time::sleep(seed.between(Duration::ZERO, Duration::from_secs(1))).await;
        server.start_ready().await?;
    }
    Ok(kills)
}
