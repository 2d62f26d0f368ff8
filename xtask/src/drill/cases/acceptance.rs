//! Two servers on one PostgreSQL, each killed and started again every few seconds for a minute.

use std::time::{Duration, Instant};

use super::super::arena::Arena;
use super::super::client;
use super::super::findings::{Findings, Spoils};
use super::super::load;

/// With Redis, which is flushed meanwhile, or without.
pub(super) async fn killed_all_the_time(arena: &mut Arena<'_>, with_redis: bool) -> Result<Findings, String> {
    let (schedules, time) = arena.scale.pick((40, Duration::from_secs(20)), (100, Duration::from_mins(1)));
    let mut spec = arena.spec()?;
    if !with_redis {
        spec.redis = None;
    }
    let mut servers = arena.servers(&spec, 2).await?;
    let flow = load::steps(&arena.target.url(), "drill", 3, Duration::from_millis(150));
    let flow = load::create_flow(&servers[0], flow).await?;
    let load = load::schedule(&servers[0], &flow, schedules, 1).await?;
    let (mut kills, mut flushes) = (0_u32, 0_u32);
    let began = Instant::now();
    while began.elapsed() < time {
        for server in &mut servers {
            tokio::time::sleep(arena.seed.between(Duration::from_millis(500), Duration::from_secs(3))).await;
            server.kill();
            kills += 1;
            tokio::time::sleep(arena.seed.between(Duration::ZERO, Duration::from_millis(500))).await;
            server.start_ready().await?;
        }
        if with_redis {
            client::redis(arena.redis_port()?, &[b"FLUSHALL"])?;
            flushes += 1;
        }
    }
    let mut findings = Findings::new(
        format!("{schedules} schedules every second for {} s, 3 steps each", began.elapsed().as_secs()),
        format!("{kills} SIGKILLs of 2 servers, {flushes} FLUSHALLs"),
    );
    findings.finish(arena, &servers, &load, Spoils::LOST).await?;
    findings.lateness(arena).await?;
    Ok(findings)
}
