//! Opens the domains' databases: embedded files, or schemas in PostgreSQL.

use std::net::SocketAddr;
use std::path::Path;

use clap::ValueEnum;
use testmesh_shared::db::{DataFolder, Db, DbError, Login, Owner, PostgresTarget, Schema, provision, role_of};
use url::Url;

use crate::settings::DatabaseSettings;
use crate::{Failure, chain};

/// A domain that keeps something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Domain {
    /// Flows, their versions, environments.
    Flows,
    /// Executions.
    Executions,
    /// Schedules and jobs.
    Scheduler,
}

impl Domain {
    /// All of them, in the order in which they are opened.
    pub(crate) const ALL: [Self; 3] = [Self::Flows, Self::Executions, Self::Scheduler];

    fn schema(self) -> &'static Schema {
        match self {
            Domain::Flows => &testmesh_storage::SCHEMA,
            Domain::Executions => &testmesh_runner::repository::SCHEMA,
            Domain::Scheduler => &testmesh_scheduler::SCHEMA,
        }
    }

    /// The database that is this domain's alone.
    fn own_url(self, settings: &DatabaseSettings) -> Option<&str> {
        let url = match self {
            Domain::Flows => &settings.flows_database_url,
            Domain::Executions => &settings.executions_database_url,
            Domain::Scheduler => &settings.scheduler_database_url,
        };
        url.as_deref().filter(|url| !url.is_empty())
    }
}

/// The folder of the embedded databases, where [`Databases::open`] uses them.
pub(crate) fn folder<'a>(settings: &'a DatabaseSettings, wanted: &[Domain], alone: bool) -> Option<&'a Path> {
    let embedded = alone && matches!(sources(settings, wanted), Ok(None));
    embedded.then_some(&settings.data_dir)
}

/// The databases of this process: of the domains that it was opened for.
pub(crate) struct Databases {
    opened: Vec<(Domain, Db)>,
    /// For people: where the data is.
    pub(crate) place: String,
}

/// Where one schema is.
struct Source<'a> {
    domain: Domain,
    url: &'a str,
    /// Whether the login is the schema's own, and not shared with the others.
    own: bool,
}

impl Databases {
    /// Opens those of `wanted` and brings them to this release's version. `alone`: no other process has a part in them, so
    /// that the embedded ones do.
    pub(crate) async fn open(settings: &DatabaseSettings, wanted: &[Domain], alone: bool) -> Result<Self, Failure> {
        match sources(settings, wanted)? {
            Some(sources) => Self::shared(settings, &sources).await,
            None if alone => Self::embedded(&settings.data_dir, wanted).await,
            None => {
                let own: Vec<_> =
                    wanted.iter().map(|domain| format!("--{}-database-url", domain.schema().name)).collect();
                Err(Failure::Setting(format!(
                    "--roles: this process shares data with others, and the embedded databases serve one process; give \
                     --database-url URL (or {})",
                    own.join(" and ")
                )))
            }
        }
    }

    /// The database of a domain, if it was opened.
    pub(crate) fn of(&self, domain: Domain) -> Option<&Db> {
        self.opened.iter().find(|(opened, _)| *opened == domain).map(|(_, db)| db)
    }

    async fn embedded(path: &Path, wanted: &[Domain]) -> Result<Self, Failure> {
        let failed = |error: DbError| Failure::failed(&error);
        let folder = DataFolder::take(path).map_err(failed)?;
        let mut opened = Vec::new();
        for domain in wanted {
            opened.push((*domain, Db::embedded(&folder, domain.schema()).await.map_err(failed)?));
        }
        Ok(Self { opened, place: folder.path().display().to_string() })
    }

    async fn shared(settings: &DatabaseSettings, sources: &[Source<'_>]) -> Result<Self, Failure> {
        // What needs no rights when it is there already, so a login that may only use the roles gets through too.
        for source in sources.iter().filter(|source| !source.own) {
            provision(source.url, source.domain.schema(), &Owner::Role(None)).await.map_err(|error| {
                Failure::Failed(format!(
                    "{}; a login that may create roles and schemas can do it once: `testmesh-server migrate \
                     --admin-url URL`",
                    chain(&error)
                ))
            })?;
        }
        let mut opened = Vec::new();
        for source in sources {
            let schema = source.domain.schema();
            let role = (!source.own).then(|| role_of(schema));
            let target =
                PostgresTarget { url: source.url.to_owned(), role, connections: settings.database_connections };
            let db = Db::postgres(&target, schema).await.map_err(|error| Failure::failed(&error))?;
            opened.push((source.domain, db));
        }
        Ok(Self { opened, place: format!("PostgreSQL at {}", places(sources).join(", ")) })
    }

    /// Closes every connection.
    pub(crate) async fn close(&self) {
        for (_, db) in &self.opened {
            db.close().await;
        }
    }
}

/// Makes the schemas and roles of `domains` and brings them to this release's version; says what it did.
pub(crate) async fn migrate(
    settings: &DatabaseSettings,
    domains: &[Domain],
    admin_url: Option<&str>,
) -> Result<String, Failure> {
    if let Some(sources) = sources(settings, domains)? {
        for source in &sources {
            let Some(admin_url) = admin_url else { continue };
            // Logins are made with the name and password that the server will use.
            let login = login(source.url)?;
            let owner = if source.own { Owner::Login(login) } else { Owner::Role(Some(login)) };
            let url = on_database_of(admin_url, source.url)?;
            provision(&url, source.domain.schema(), &owner).await.map_err(|error| Failure::failed(&error))?;
        }
    } else if admin_url.is_some() {
        let message = "--admin-url: there is no PostgreSQL database to make ready; give --database-url too";
        return Err(Failure::Setting(message.to_owned()));
    }
    let databases = Databases::open(settings, domains, true).await?;
    databases.close().await;
    let versions: Vec<String> = domains
        .iter()
        .map(|domain| {
            let schema = domain.schema();
            let newest = schema.postgres.last().map_or(0, |migration| migration.version);
            format!("schema `{}` is at migration {newest}", schema.name)
        })
        .collect();
    Ok(format!("{}\n(data in {})", versions.join("\n"), databases.place))
}

/// The addresses of all PostgreSQL servers in the settings, which flows may not reach.
pub(crate) async fn addresses(settings: &DatabaseSettings) -> Vec<SocketAddr> {
    let own = Domain::ALL.iter().filter_map(|domain| domain.own_url(settings));
    let mut addresses = Vec::new();
    for url in own.chain(settings.database_url.as_deref()) {
        addresses.extend(resolve(url, 5432).await);
    }
    addresses
}

/// What the host of a URL resolves to now. One that does not resolve cannot be reached by a flow either.
pub(crate) async fn resolve(url: &str, port: u16) -> Vec<SocketAddr> {
    let Ok(url) = Url::parse(url) else { return Vec::new() };
    let Some(host) = url.host_str() else { return Vec::new() };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match tokio::net::lookup_host((host, url.port().unwrap_or(port))).await {
        Ok(found) => found.collect(),
        Err(_) => Vec::new(),
    }
}

/// Where each schema is; none: embedded.
fn sources<'a>(settings: &'a DatabaseSettings, wanted: &[Domain]) -> Result<Option<Vec<Source<'a>>>, Failure> {
    let shared = settings.database_url.as_deref().filter(|url| !url.is_empty());
    let found: Vec<Source<'a>> = wanted
        .iter()
        .filter_map(|domain| match domain.own_url(settings) {
            Some(url) => Some(Source { domain: *domain, url, own: true }),
            None => shared.map(|url| Source { domain: *domain, url, own: false }),
        })
        .collect();
    match found.len() {
        0 => Ok(None),
        n_found if n_found == wanted.len() => Ok(Some(found)),
        _ => Err(Failure::Setting(
            "--database-url: some domains have a PostgreSQL database of their own and others none; give \
             --database-url for the others"
                .to_owned(),
        )),
    }
}

/// Each server and database once, without logins.
fn places(sources: &[Source<'_>]) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for source in sources {
        let Ok(url) = Url::parse(source.url) else { continue };
        let place = format!("{}:{}{}", url.host_str().unwrap_or("localhost"), url.port().unwrap_or(5432), url.path());
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn parsed(url: &str) -> Result<Url, Failure> {
    // The parser's words do not repeat the URL, which may hold a password.
    Url::parse(url).map_err(|error| Failure::Setting(format!("a database URL is not one: {error}")))
}

/// User and password of a URL.
fn login(url: &str) -> Result<Login, Failure> {
    let url = parsed(url)?;
    let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    if url.username().is_empty() {
        return Err(Failure::Setting("a database URL needs a user: who uses the schema".to_owned()));
    }
    Ok(Login { user: plain(url.username()), password: url.password().map(plain) })
}

/// The administrator's login on the database that `url` names.
fn on_database_of(admin: &str, url: &str) -> Result<String, Failure> {
    let (mut admin, url) = (parsed(admin)?, parsed(url)?);
    admin.set_path(url.path());
    Ok(admin.into())
}
