//! Who may call from outside, and what flows may reach: decided from the settings.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use testmesh_api::{Access, Callers, Tokens};
use testmesh_runner::files::Files;
use testmesh_runner::plugins::{Grant, Grants, PluginError, Plugins};
use testmesh_runner::programs::Programs;
use testmesh_shared::net::{Listening, NetPolicy};

use crate::databases;
use crate::settings::Settings;
use crate::shape::{Runner, Shape, Storage};
use crate::{Failure, chain};

/// Who may call. Without tokens nobody but this machine may use the API; what a process without it says is for everybody.
pub(crate) fn access(settings: &Settings, shape: &Shape) -> Result<Access, Failure> {
    let place = |key| settings.in_force.place(key);
    let callers = match &settings.tokens_file {
        Some(path) => {
            let tokens = Tokens::load(path);
            let tokens =
                tokens.map_err(|error| Failure::Setting(format!("{}: {}", place("tokens_file"), chain(&error))))?;
            Callers::Known(Arc::new(tokens))
        }
        None if !shape.api => Callers::Anyone,
        None if settings.listen.ip().is_loopback() => Callers::Local,
        None => {
            return Err(Failure::Setting(format!(
                "{} {}: anyone on the network could call this server, and it has no tokens; give it \
                 --tokens-file FILE (`testmesh-server token create --name me --scope admin` makes the first line), or \
                 listen on a loopback address such as 127.0.0.1:5016",
                place("listen"),
                settings.listen
            )));
        }
    };
    let origins = settings.cors_origins.iter().map(|origin| origin.trim().trim_end_matches('/').to_owned());
    let origins: Vec<_> = origins.filter(|origin| !origin.is_empty()).collect();
    for origin in &origins {
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let plain = |authority: &str| {
            !authority.is_empty() && !authority.contains('/') && authority.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !authority.is_some_and(plain) {
            return Err(Failure::Setting(format!(
                "{}: `{origin}` is no origin such as `https://tests.example.com`",
                place("cors_origins")
            )));
        }
    }
    Ok(Access { callers, origins })
}

/// The files that flows may read.
pub(crate) fn files(settings: &Settings) -> Result<Files, Failure> {
    let Some(folder) = &settings.flow_files else { return Ok(Files::none()) };
    let place = || settings.in_force.place("flow_files");
    let root = std::fs::canonicalize(folder)
        .map_err(|error| Failure::Setting(format!("{}: cannot use `{}`: {error}", place(), folder.display())))?;
    if !root.is_dir() {
        return Err(Failure::Setting(format!("{}: `{}` is no folder", place(), folder.display())));
    }
    Ok(Files { base: root.clone(), root: Some(root), enabled: true })
}

/// The programs that flows may run, with the little they see of this process's environment.
pub(crate) fn programs(settings: &Settings) -> Result<Programs, Failure> {
    let names: Vec<String> = settings.exec_allow.iter().map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        let place = settings.in_force.place("exec_allow");
        return Err(Failure::Setting(format!("{place}: a name of a program is empty")));
    }
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let programs = Programs::named(names).with_environment(environment);
    Ok(match &settings.browser {
        Some(program) => programs.with_browser(program.clone()),
        None => programs,
    })
}

/// The plugins that flows may use. A process whose flows run in others knows nothing of those there, unless it is given the
/// same folder.
pub(crate) fn plugins(settings: &Settings, shape: &Shape) -> Result<Plugins, Failure> {
    let grants: Result<Vec<Grant>, String> = settings.plugin_allow.iter().map(|text| text.trim().parse()).collect();
    let grants = grants.map_err(|error| {
        let place = settings.in_force.place("plugin_allow");
        Failure::Setting(format!("{place}: {error}"))
    })?;
    let Some(folder) = &settings.plugin_dir else {
        return match &shape.runner {
            Runner::Here => Ok(Plugins::none()),
            Runner::At(_) | Runner::Unneeded => Ok(Plugins::elsewhere()),
        };
    };
    Plugins::in_folder(folder, Grants::Only(grants), plugin_cache(settings, shape)).map_err(|error| {
        let key = if matches!(error, PluginError::Unknown { .. }) { "plugin_allow" } else { "plugin_dir" };
        let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
        Failure::Setting(format!("{}: {error}{help}", settings.in_force.place(key)))
    })
}

/// Below which folder compiled plugins are kept: the one that is named, or else the data folder, where there is one.
fn plugin_cache<'a>(settings: &'a Settings, shape: &Shape) -> Option<&'a Path> {
    match &settings.plugin_cache {
        Some(folder) if folder.as_os_str() == "off" => None,
        Some(folder) => Some(folder),
        None => databases::folder(&settings.database, &shape.domains(), shape.is_whole()),
    }
}

/// Where mock servers of flows listen, and by which name they are reached.
pub(crate) fn listening(settings: &Settings) -> Result<Listening, Failure> {
    let host = settings.mock_host.as_deref().map(str::trim).filter(|host| !host.is_empty());
    let host = host.map(|host| match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    });
    // A host and nothing else, so that a port can follow it.
    if let Some(host) = &host
        && url::Host::parse(host).is_err()
    {
        let place = settings.in_force.place("mock_host");
        return Err(Failure::Setting(format!("{place}: `{host}` is no host name or address")));
    }
    Ok(Listening { address: settings.mock_bind, host, anywhere: false })
}

/// Where flows may connect to: not to this server itself, its other processes, nor to where its data is.
pub(crate) async fn network_policy(
    settings: &Settings,
    shape: &Shape,
    listeners: Vec<SocketAddr>,
) -> Result<NetPolicy, Failure> {
    let mut own = listeners;
    own.extend(databases::addresses(&settings.database).await);
    if let Some(url) = &settings.redis_url {
        own.extend(databases::resolve(url, 6379).await);
    }
    if let Storage::At(url) = &shape.storage {
        own.extend(databases::resolve(url, 80).await);
    }
    if let Runner::At(urls) = &shape.runner {
        for url in urls {
            own.extend(databases::resolve(url, 80).await);
        }
    }
    let place = |key| settings.in_force.place(key);
    NetPolicy::server(&own)
        .with_denied(&settings.net_deny.join(","))
        .map_err(|error| Failure::Setting(format!("{}: {error}", place("net_deny"))))?
        .with_allowed(&settings.net_allow.join(","))
        .map_err(|error| Failure::Setting(format!("{}: {error}", place("net_allow"))))
}
