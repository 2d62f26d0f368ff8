//! The processes of one shape, running: each with its roles, its ports, and the addresses of the others.

use std::net::TcpListener;

use super::balancer::Balancer;
use super::layout::{Layout, Process};
use crate::drill::arena::{Arena, Spec};
use crate::drill::server::Server;

/// The processes, in the order of the layout.
pub(crate) struct Place {
    pub(crate) servers: Vec<Server>,
    /// In front of several that have the API.
    balancer: Option<Balancer>,
}

/// The ports of one process, beside the one that it is asked at from outside.
struct Ports {
    name: &'static str,
    internal: u16,
    runner: u16,
}

impl Place {
    /// Starts every process and waits until all are ready.
    pub(crate) async fn start(arena: &mut Arena<'_>, layout: &Layout) -> Result<Self, String> {
        let token = arena.file("internal-token", &format!("{:064x}\n", u128::from(std::process::id()) + (1 << 100)))?;
        let ports = layout.processes.iter().map(ports).collect::<Result<Vec<_>, _>>()?;
        let mut servers = Vec::new();
        for process in layout.processes {
            let spec = Spec { variables: variables(process, layout, &ports, &token)?, ..arena.spec()? };
            servers.push(arena.server(&spec)?);
        }
        // All at once: each one is ready only when those that it uses are.
        for server in &mut servers {
            server.start()?;
        }
        for server in &mut servers {
            server.start_ready().await?;
        }
        let apis: Vec<String> = layout
            .processes
            .iter()
            .zip(&servers)
            .filter(|(process, _)| process.has("api"))
            .map(|(_, server)| server.authority.clone())
            .collect();
        let balancer = if apis.len() > 1 { Some(Balancer::before(apis).await?) } else { None };
        Ok(Self { servers, balancer })
    }

    /// Where the whole is asked from outside.
    pub(crate) fn authority(&self) -> &str {
        match &self.balancer {
            Some(balancer) => balancer.authority(),
            None => &self.servers[0].authority,
        }
    }

    /// Asks every process to end, those that are asked from outside first; each must do so with code 0.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        for server in &mut self.servers {
            let status = server.terminate().await?;
            if !status.success() {
                return Err(format!("a process ended with {status} when it was asked to:\n{}", server.log_end()));
            }
        }
        Ok(())
    }
}

fn ports(process: &Process) -> Result<Ports, String> {
    Ok(Ports { name: process.name, internal: free_port()?, runner: free_port()? })
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    Ok(listener.map_err(|error| format!("find a free port: {error}"))?.port())
}

/// What a process is told, as variables.
fn variables(
    process: &Process,
    layout: &Layout,
    ports: &[Ports],
    token: &str,
) -> Result<Vec<(String, String)>, String> {
    let of = |name: &str| {
        let found = ports.iter().find(|ports| ports.name == name);
        found.ok_or_else(|| format!("no process `{name}` in the shape `{}`", layout.name))
    };
    let own = of(process.name)?;
    let mut variables = vec![("TESTMESH_ROLES", process.roles.to_owned())];
    let others = || layout.processes.iter().filter(|other| other.name != process.name);
    let serves_storage = others().any(|other| other.storage == Some(process.name));
    let serves_runner = others().any(|other| other.runners.contains(&process.name));
    if serves_storage {
        variables.push(("TESTMESH_INTERNAL_LISTEN", format!("127.0.0.1:{}", own.internal)));
    }
    if serves_runner {
        variables.push(("TESTMESH_RUNNER_LISTEN", format!("127.0.0.1:{}", own.runner)));
    }
    if let Some(storage) = process.storage {
        variables.push(("TESTMESH_STORAGE_URL", format!("http://127.0.0.1:{}", of(storage)?.internal)));
    }
    if !process.runners.is_empty() {
        let urls = process.runners.iter().map(|name| Ok(format!("http://127.0.0.1:{}", of(name)?.runner)));
        variables.push(("TESTMESH_RUNNER_URL", urls.collect::<Result<Vec<_>, String>>()?.join(",")));
    }
    if serves_storage || serves_runner || process.storage.is_some() || !process.runners.is_empty() {
        variables.push(("TESTMESH_INTERNAL_TOKEN_FILE", token.to_owned()));
    }
    Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
