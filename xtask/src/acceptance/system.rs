//! The server itself.

use super::Outcome;
use super::site::{Site, holds, same};

pub(super) async fn the_server_says_how_it_does(site: Site) -> Outcome {
    same("livez", site.get("/livez").await?.text.as_str(), "ok\n")?;
    let ready = site.get("/readyz").await?;
    same("readyz", &ready.status, &200)?;
    holds(&format!("every part is ok: {}", ready.text), ready.text.lines().all(|line| line.ends_with(": ok")))?;
    same("health", &site.get("/health").await?.expect(200)?["status"], "healthy")?;
    let metrics = site.get("/metrics").await?;
    holds("/metrics counts requests", metrics.text.contains("testmesh_http_requests_total"))?;
    same("the document's version", &site.get("/api/openapi.json").await?.expect(200)?["openapi"], "3.1.0")
}

pub(super) async fn what_is_not_there_is_a_problem_with_a_code(site: Site) -> Outcome {
    site.get("/api/v1/nothing").await?.problem(404, "route_not_found")?;
    site.delete("/api/v1/flows").await?.problem(405, "method_not_allowed")?;
    site.get("/api/v1/flows?nonsense=1").await?.problem(422, "invalid_request")?;
    Ok(())
}
