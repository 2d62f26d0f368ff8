//! What this process does and where it finds the rest: decided from the settings alone, before anything is opened.

use std::fmt::{self, Display, Formatter};
use std::net::{Ipv4Addr, SocketAddr};

use crate::Failure;
use crate::databases::Domain;
use crate::settings::{Role, Settings};

/// Where runners listen when nothing else is said.
const RUNNER_PORT: u16 = 50051;

/// Where flows and environments are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In this process.
    Here,
    /// In a database of another process's domain that this process was given too.
    Direct,
    /// In the process at this URL.
    At(String),
    /// Nothing here asks for them.
    Unneeded,
}

/// Where flows run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Runner {
    /// In this process.
    Here,
    /// In the processes at these URLs.
    At(Vec<String>),
    /// Nothing here asks for runs.
    Unneeded,
}

/// Where it is decided when flows run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheduler {
    /// In this process.
    Here,
    /// In another process, which meets this one in the scheduler's schema.
    InItsSchema,
    /// Nothing here asks for schedules.
    Unneeded,
}

/// The process's place among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) api: bool,
    pub(crate) storage: Storage,
    pub(crate) runner: Runner,
    pub(crate) scheduler: Scheduler,
    /// Where storage is served to others.
    pub(crate) internal_listen: Option<SocketAddr>,
    /// Where the runner is served to others.
    pub(crate) runner_listen: Option<SocketAddr>,
}

impl Shape {
    /// What the settings ask for, or why that cannot be.
    pub(crate) fn of(settings: &Settings) -> Result<Self, Failure> {
        let has = |role| settings.roles.roles.contains(&role);
        let (api, runner, storage) = (has(Role::Api), has(Role::Runner), has(Role::Storage));
        let shape = Self {
            api,
            storage: storage_of(settings, storage, api || runner)?,
            runner: runner_of(settings, runner, api)?,
            scheduler: match (has(Role::Scheduler), api) {
                (true, _) => Scheduler::Here,
                (false, true) => Scheduler::InItsSchema,
                (false, false) => Scheduler::Unneeded,
            },
            internal_listen: settings.roles.internal_listen,
            runner_listen: settings.roles.runner_listen.or_else(|| (runner && !api).then(default_runner_listen)),
        };
        shape.check(settings)?;
        Ok(shape)
    }

    /// Whose databases this process opens: those of its own domains, and the schema in which it meets the scheduler.
    pub(crate) fn domains(&self) -> Vec<Domain> {
        let opens = |domain: &Domain| match domain {
            Domain::Flows => matches!(self.storage, Storage::Here | Storage::Direct),
            Domain::Executions => self.runner == Runner::Here,
            Domain::Scheduler => self.scheduler != Scheduler::Unneeded,
        };
        Domain::ALL.into_iter().filter(opens).collect()
    }

    /// Whether every domain is in this process.
    pub(crate) fn is_whole(&self) -> bool {
        self.api && self.storage == Storage::Here && self.runner == Runner::Here && self.scheduler == Scheduler::Here
    }

    /// Whether the scheduler or the runner is here without the other, so that they meet on Redis alone.
    pub(crate) fn splits_stream(&self) -> bool {
        (self.scheduler == Scheduler::Here) != (self.runner == Runner::Here)
    }

    /// Whether other processes are called, or call.
    pub(crate) fn is_networked(&self) -> bool {
        self.internal_listen.is_some()
            || self.runner_listen.is_some()
            || matches!(self.storage, Storage::At(_))
            || matches!(self.runner, Runner::At(_))
    }

    /// The roles of this process.
    pub(crate) fn roles(&self) -> Vec<&'static str> {
        let roles = [
            (self.api, "api"),
            (self.scheduler == Scheduler::Here, "scheduler"),
            (self.runner == Runner::Here, "runner"),
            (self.storage == Storage::Here, "storage"),
        ];
        roles.into_iter().filter(|(here, _)| *here).map(|(_, name)| name).collect()
    }

    fn check(&self, settings: &Settings) -> Result<(), Failure> {
        let place = |key: &str| settings.in_force.place(key);
        if self.roles().is_empty() {
            return refuse(format!("{}: it names no role", place("roles")));
        }
        if self.storage != Storage::Here && self.internal_listen.is_some() {
            return refuse(format!(
                "{}: this process has no storage to serve: it lacks the role",
                place("internal_listen")
            ));
        }
        if self.runner != Runner::Here && self.runner_listen.is_some() {
            return refuse(format!(
                "{}: this process has no runner to serve: it lacks the role",
                place("runner_listen")
            ));
        }
        let serves_itself = self.api || self.runner == Runner::Here;
        if self.storage == Storage::Here && !serves_itself && self.internal_listen.is_none() {
            return refuse(format!(
                "{}: nothing in this process uses its storage, and no other can; give it --internal-listen ADDRESS",
                place("roles")
            ));
        }
        if self.splits_stream() && !is_given(settings.redis_url.as_deref()) {
            return refuse(format!(
                "{}: the scheduler and the runner are in different processes and meet on Redis; give both --redis-url URL",
                place("roles")
            ));
        }
        Ok(())
    }
}

/// Roles and where the others are, for people.
impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.roles().join(", "))?;
        match &self.storage {
            Storage::At(url) => write!(f, "; storage at {url}")?,
            Storage::Direct => f.write_str("; storage in its database")?,
            Storage::Here | Storage::Unneeded => {}
        }
        if let Runner::At(urls) = &self.runner {
            write!(f, "; runners at {}", urls.join(", "))?;
        }
        if self.scheduler == Scheduler::InItsSchema {
            f.write_str("; scheduler in its database")?;
        }
        Ok(())
    }
}

fn default_runner_listen() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, RUNNER_PORT).into()
}

fn storage_of(settings: &Settings, is_here: bool, is_needed: bool) -> Result<Storage, Failure> {
    let place = settings.in_force.place("storage_url");
    match (is_here, settings.roles.storage_url.as_deref().filter(|url| !url.is_empty())) {
        (true, Some(url)) => refuse(format!(
            "{place}: storage runs in this process, so it cannot be used at `{url}` too; take one of them away"
        )),
        (true, None) => Ok(Storage::Here),
        (false, Some(url)) => Ok(Storage::At(url.to_owned())),
        (false, None) if !is_needed => Ok(Storage::Unneeded),
        (false, None) if is_given(settings.database.flows_database_url.as_deref()) => Ok(Storage::Direct),
        (false, None) => refuse(format!(
            "{}: without the role storage this process needs --storage-url URL, or the storage's own database in \
             --flows-database-url URL",
            settings.in_force.place("roles")
        )),
    }
}

fn runner_of(settings: &Settings, is_here: bool, is_needed: bool) -> Result<Runner, Failure> {
    let place = settings.in_force.place("runner_url");
    let urls: Vec<String> = settings.roles.runner_url.iter().map(|url| url.trim().to_owned()).collect();
    let urls: Vec<String> = urls.into_iter().filter(|url| !url.is_empty()).collect();
    match (is_here, urls.is_empty()) {
        (true, false) => refuse(format!(
            "{place}: a runner runs in this process, so others cannot be used too; take one of them away"
        )),
        (true, true) => Ok(Runner::Here),
        (false, false) => Ok(Runner::At(urls)),
        (false, true) if !is_needed => Ok(Runner::Unneeded),
        (false, true) => refuse(format!(
            "{}: without the role runner the API needs --runner-url URL",
            settings.in_force.place("roles")
        )),
    }
}

fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

fn refuse<T>(message: String) -> Result<T, Failure> {
    Err(Failure::Setting(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Variables, resolve};

    fn shape(flags: &str) -> Result<Shape, String> {
        let arguments: Vec<_> =
            std::iter::once("testmesh-server").chain(flags.split_whitespace()).map(Into::into).collect();
        let read = resolve(&arguments, &Variables::default()).expect("the flags are right");
        Shape::of(&read.settings).map_err(|failure| match failure {
            Failure::Setting(message) | Failure::Failed(message) => message,
        })
    }

    #[test]
    fn shapes_say_what_is_here_and_where_the_rest_is() {
        for (flags, expected) in [
            ("", "api, scheduler, runner, storage"),
            ("--roles storage --internal-listen 127.0.0.1:1", "storage"),
            ("--roles runner --redis-url redis://r --storage-url http://s:1", "runner; storage at http://s:1"),
            ("--roles scheduler --redis-url redis://r", "scheduler"),
            (
                "--roles api --storage-url http://s:1 --runner-url http://a:1,http://b:1",
                "api; storage at http://s:1; runners at http://a:1, http://b:1; scheduler in its database",
            ),
            (
                "--roles api,storage --runner-url http://a:1",
                "api, storage; runners at http://a:1; scheduler in its database",
            ),
            (
                "--roles runner --redis-url redis://r --flows-database-url postgres://f/f",
                "runner; storage in its database",
            ),
        ] {
            assert_eq!(shape(flags).unwrap().to_string(), expected, "{flags}");
        }
        let listen = |flags: &str| shape(flags).unwrap().runner_listen.map(|address| address.to_string());
        assert_eq!(listen(""), None);
        assert_eq!(listen("--runner-listen 127.0.0.1:7").as_deref(), Some("127.0.0.1:7"));
        let runner = "--roles runner --redis-url redis://r --storage-url http://s:1";
        assert_eq!(listen(runner).as_deref(), Some("127.0.0.1:50051"));
    }

    #[test]
    fn impossible_shapes_are_refused_with_what_is_missing() {
        for (flags, part) in [
            ("--roles api,scheduler,storage --redis-url redis://r", "--runner-url"),
            ("--roles runner --redis-url redis://r", "--storage-url"),
            ("--roles api --runner-url http://a:1", "--flows-database-url"),
            ("--storage-url http://s:1", "--storage-url: storage runs in this process"),
            ("--runner-url http://s:1", "--runner-url: a runner runs in this process"),
            ("--roles storage", "--internal-listen"),
            ("--roles scheduler", "--redis-url"),
            ("--roles runner,storage", "--redis-url"),
            ("--roles scheduler --redis-url redis://r --internal-listen 127.0.0.1:1", "no storage to serve"),
            ("--roles storage --internal-listen 127.0.0.1:1 --runner-listen 127.0.0.1:2", "no runner to serve"),
        ] {
            let message = shape(flags).unwrap_err();
            assert!(message.contains(part), "{flags}: {message}");
        }
    }
}
