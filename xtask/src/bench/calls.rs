//! `cargo xtask bench calls`: what it costs that a domain is elsewhere. One call in the process, over loopback HTTP and
//! over loopback gRPC, against bare calls; and a whole run in every shape, against the one process.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use serde::Deserialize;

use super::load::{Call, connect, send};
use super::table::{Figure, Goal};
use super::{Options, Programs};
use crate::drill::arena::{Arena, Scale};
use crate::drill::load;
use crate::services::{Missing, Services, Wanted};
use crate::shapes::layout::{LAYOUTS, Layout};
use crate::shapes::place::Place;

/// Most that a call in the process may take beside its work, in microseconds.
const HERE_US: f64 = 2.0;
/// Most that a call of another process may take beside its work, in microseconds.
const ELSEWHERE_US: f64 = 200.0;
/// Most that a run may take longer in any shape than in one process, in milliseconds.
const RUN_MS: f64 = 3.0;
/// Runs before those that count: connections open, compiled flows are kept.
const WARM_UP: usize = 30;

/// Runs every case.
pub(super) async fn run(options: &Options, programs: &Programs) -> Result<Vec<Figure>, String> {
    let (calls, runs) = if options.quick { (2_000, 60) } else { (20_000, 500) };
    let mut figures = of_calls(&ask(&programs.call_price, calls)?)?;
    figures.extend(of_runs(&programs.server, runs).await?);
    Ok(figures)
}

/// What `call-price` tells of one way of calling, in microseconds.
#[derive(Debug, Deserialize)]
struct Way {
    name: String,
    whole_us: Percentiles,
    work_us: Percentiles,
    price_us: Percentiles,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
}

fn ask(program: &Path, rounds: usize) -> Result<Vec<Way>, String> {
    let output = Command::new(program)
        .arg(rounds.to_string())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("start `{}`: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("`{}` ended with {}", program.display(), output.status));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let read = |line: &str| serde_json::from_str(line).map_err(|error| format!("{error} in `{line}`"));
    lines.lines().map(read).collect()
}

/// Each way of calling, and beside it what the same is without TestMesh.
fn of_calls(ways: &[Way]) -> Result<Vec<Figure>, String> {
    let find = |name: &str| {
        ways.iter().find(|way| way.name == name).ok_or_else(|| format!("nothing was measured of `{name}`"))
    };
    let mut figures = Vec::new();
    for (name, bare, most) in [
        ("storage in-process", None, HERE_US),
        ("storage over HTTP", Some("bare HTTP"), ELSEWHERE_US),
        ("runner in-process", None, HERE_US),
        ("runner over gRPC", Some("bare gRPC"), ELSEWHERE_US),
    ] {
        let way = find(name)?;
        let bare = bare.map(find).transpose()?.map(|bare| bare.whole_us);
        let figure =
            |what: &str, value, limit, goal| Figure::new(&format!("{name}, {what}"), (value, "µs"), limit, goal);
        figures.extend([
            figure("a call, p50", way.whole_us.p50, Some(way.work_us.p50), Goal::Shown),
            figure("a call, p99", way.whole_us.p99, Some(way.work_us.p99), Goal::Shown),
            figure("beside its work, p50", way.price_us.p50, bare.map(|bare| bare.p50), Goal::AtMost(most)),
            figure("beside its work, p99", way.price_us.p99, bare.map(|bare| bare.p99), Goal::Shown),
        ]);
    }
    Ok(figures)
}

/// A run of one step in every shape, on PostgreSQL with `fsync` on and Redis.
async fn of_runs(server: &Path, rounds: usize) -> Result<Vec<Figure>, String> {
    let wanted = Wanted { postgres: true, redis: true, faketime: false, missing: Missing::Install };
    let mut services = Services::start(wanted, &mut std::io::stderr()).map_err(|error| error.to_string())?;
    if !services.missing.is_empty() {
        return Err(services.missing.join("; "));
    }
    let mut arena = Arena::open(&mut services, server, "calls", (Scale::Long, 1)).await?;
    arena.ledger.rest();
    let [one, others @ ..] = &LAYOUTS;
    let together = Place::start(&mut arena, one).await?;
    let flow = load::create_flow(&together.servers[0], load::nothing("calls")).await?;
    let path = format!("/api/v1/flows/{flow}/executions?wait=10s");
    let call = Call { method: "POST", path, body: Bytes::from_static(b"{}"), wanted: r#""status":"passed""# };
    let mut figures = Vec::new();
    for layout in others {
        let place = Place::start(&mut arena, layout).await?;
        let taken = in_turns([together.authority(), place.authority()], &call, rounds).await?;
        figures.extend(of_shape(layout, taken));
        place.stop().await?;
    }
    together.stop().await?;
    Ok(figures)
}

fn of_shape(layout: &Layout, [together, apart]: [Percentiles; 2]) -> [Figure; 4] {
    let figure = |what: &str, value, limit, goal| {
        Figure::new(&format!("a run, {}, {what}", layout.name), (value, "ms"), limit, goal)
    };
    [
        figure("p50", apart.p50, Some(together.p50), Goal::Shown),
        figure("p99", apart.p99, Some(together.p99), Goal::Shown),
        figure("more than in one process, p50", apart.p50 - together.p50, None, Goal::AtMost(RUN_MS)),
        figure("more than in one process, p99", apart.p99 - together.p99, None, Goal::Shown),
    ]
}

/// Sends `call` to one and the other by turns, so that a noisy moment hits both; milliseconds.
async fn in_turns(authorities: [&str; 2], call: &Call, rounds: usize) -> Result<[Percentiles; 2], String> {
    let mut lanes = [Lane::open(authorities[0]).await?, Lane::open(authorities[1]).await?];
    for round in 0..WARM_UP + rounds {
        for lane in &mut lanes {
            let started = Instant::now();
            send(&mut lane.connection, &lane.authority, call).await?;
            if round >= WARM_UP {
                lane.taken.push(started.elapsed());
            }
        }
    }
    Ok(lanes.map(|lane| percentiles(lane.taken)))
}

/// One client.
struct Lane {
    authority: String,
    connection: SendRequest<Full<Bytes>>,
    taken: Vec<Duration>,
}

impl Lane {
    async fn open(authority: &str) -> Result<Self, String> {
        Ok(Self { authority: authority.to_owned(), connection: connect(authority).await?, taken: Vec::new() })
    }
}

fn percentiles(mut taken: Vec<Duration>) -> Percentiles {
    taken.sort_unstable();
    let at = |part: usize| taken.get(taken.len() * part / 100).map_or(f64::NAN, |taken| taken.as_secs_f64() * 1e3);
    Percentiles { p50: at(50), p99: at(99) }
}
