//! Opens the domains' databases: embedded files, or schemas in PostgreSQL.

use std::net::SocketAddr;
use std::path::Path;

use testmesh_shared::db::{DataFolder, Db, DbError, Login, Owner, PostgresTarget, Schema, provision, role_of};
use url::Url;

use crate::settings::DatabaseSettings;
use crate::{Failure, chain};

/// The schemas, in the order in which they are opened.
const SCHEMAS: [&Schema; 3] =
    [&testmesh_storage::SCHEMA, &testmesh_runner::repository::SCHEMA, &testmesh_scheduler::SCHEMA];

/// The databases of this process.
pub(crate) struct Databases {
    pub(crate) flows: Db,
    pub(crate) executions: Db,
    pub(crate) scheduler: Db,
    /// For people: where the data is.
    pub(crate) place: String,
}

/// Where one schema is.
struct Source<'a> {
    url: &'a str,
    /// Whether the login is the schema's own, and not shared with the others.
    own: bool,
}

impl Databases {
    /// Opens all of them and brings them to this release's version.
    pub(crate) async fn open(settings: &DatabaseSettings) -> Result<Self, Failure> {
        match sources(settings)? {
            Some(sources) => Self::shared(settings, &sources).await,
            None => Self::embedded(&settings.data_dir).await,
        }
    }

    async fn embedded(path: &Path) -> Result<Self, Failure> {
        let failed = |error: DbError| Failure::failed(&error);
        let folder = DataFolder::take(path).map_err(failed)?;
        let [flows, executions, scheduler] = SCHEMAS;
        Ok(Self {
            flows: Db::embedded(&folder, flows).await.map_err(failed)?,
            executions: Db::embedded(&folder, executions).await.map_err(failed)?,
            scheduler: Db::embedded(&folder, scheduler).await.map_err(failed)?,
            place: folder.path().display().to_string(),
        })
    }

    async fn shared(settings: &DatabaseSettings, sources: &[Source<'_>; 3]) -> Result<Self, Failure> {
        // What needs no rights when it is there already, so a login that may only use the roles gets through too.
        for (schema, source) in SCHEMAS.iter().zip(sources).filter(|(_, source)| !source.own) {
            provision(source.url, schema, &Owner::Role(None)).await.map_err(|error| {
                Failure::Failed(format!(
                    "{}; a login that may create roles and schemas can do it once: `testmesh-server migrate \
                     --admin-url URL`",
                    chain(&error)
                ))
            })?;
        }
        let open = async |index: usize| {
            let (schema, source) = (SCHEMAS[index], &sources[index]);
            let role = (!source.own).then(|| role_of(schema));
            let target =
                PostgresTarget { url: source.url.to_owned(), role, connections: settings.database_connections };
            Db::postgres(&target, schema).await.map_err(|error| Failure::failed(&error))
        };
        let place = format!("PostgreSQL at {}", places(sources).join(", "));
        Ok(Self { flows: open(0).await?, executions: open(1).await?, scheduler: open(2).await?, place })
    }

    /// Closes every connection.
    pub(crate) async fn close(&self) {
        self.flows.close().await;
        self.executions.close().await;
        self.scheduler.close().await;
    }
}

/// Makes schemas and roles and brings them to this release's version; says what it did.
pub(crate) async fn migrate(settings: &DatabaseSettings, admin_url: Option<&str>) -> Result<String, Failure> {
    if let Some(sources) = sources(settings)? {
        for (schema, source) in SCHEMAS.iter().zip(&sources) {
            let Some(admin_url) = admin_url else { continue };
            // Logins are made with the name and password that the server will use.
            let login = login(source.url)?;
            let owner = if source.own { Owner::Login(login) } else { Owner::Role(Some(login)) };
            let url = on_database_of(admin_url, source.url)?;
            provision(&url, schema, &owner).await.map_err(|error| Failure::failed(&error))?;
        }
    } else if admin_url.is_some() {
        let message = "--admin-url: there is no PostgreSQL database to make ready; give --database-url too";
        return Err(Failure::Setting(message.to_owned()));
    }
    let databases = Databases::open(settings).await?;
    databases.close().await;
    let versions: Vec<String> = SCHEMAS
        .iter()
        .map(|schema| {
            let newest = schema.postgres.last().map_or(0, |migration| migration.version);
            format!("schema `{}` is at migration {newest}", schema.name)
        })
        .collect();
    Ok(format!("{}\n(data in {})", versions.join("\n"), databases.place))
}

/// The addresses of PostgreSQL servers, which flows may not reach.
pub(crate) async fn addresses(settings: &DatabaseSettings) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::new();
    for source in sources(settings)?.iter().flatten() {
        addresses.extend(resolve(source.url, 5432).await);
    }
    Ok(addresses)
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
fn sources(settings: &DatabaseSettings) -> Result<Option<[Source<'_>; 3]>, Failure> {
    let own = [&settings.flows_database_url, &settings.executions_database_url, &settings.scheduler_database_url];
    let shared = settings.database_url.as_deref().filter(|url| !url.is_empty());
    let mut found = own.iter().map(|url| match url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => Some(Source { url, own: true }),
        None => shared.map(|url| Source { url, own: false }),
    });
    let sources = [found.next().flatten(), found.next().flatten(), found.next().flatten()];
    match sources {
        [Some(flows), Some(executions), Some(scheduler)] => Ok(Some([flows, executions, scheduler])),
        [None, None, None] => Ok(None),
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
