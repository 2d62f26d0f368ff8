//! What `database_query` and `db_poll` share: connections by connection string, kept for the run, and what came back.
//!
//! A step has a connection for itself while it runs. Dropped in between, for a time-out or a cancellation, the connection
//! is closed and not used again.

mod mysql;
mod placeholders;
mod postgres;
mod sqlite;
mod target;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::Mutex;
use testmesh_shared::net::{Connector, NetError};
use testmesh_shared::tls::{Identity, TlsClient, TlsError, TlsOptions};

use self::target::{Server, Target, TlsMode};
use super::http_request::chain;
use crate::action::{ActionError, ActionResult, Field, Kind, ResultField};
use crate::engine::{ActionContext, Resolved};
use crate::files::Files;
use crate::record::ErrorKind;
use crate::value::{Entries, Map, Shape, Value};

/// Rows that are read unless the step says otherwise.
const DEFAULT_MAX_ROWS: usize = 10_000;
/// Certificates and keys are a few kilobytes.
const PEM_LIMIT: u64 = 1 << 20;
/// As long an unused connection is believed to be open without asking.
const TRUSTED: Duration = Duration::from_secs(5);
/// Bytes of all values that are read.
const MAX_BYTES: usize = 64 << 20;

pub(super) const CONNECTION: Field = Field {
    name: "connection",
    aliases: &["connection_string", "dsn", "database_url"],
    kind: Kind::Text,
    required: true,
    default: None,
    doc: "`postgres://user:password@host:5432/database`, `mysql://…` (also `mariadb://…`), or `sqlite:file.db`. \
          `sslmode` is `disable`, `prefer` (default), `require` or `verify-full` with `sslrootcert`.",
};
pub(super) const QUERY: Field = Field {
    name: "query",
    aliases: &["sql", "statement"],
    kind: Kind::Text,
    required: true,
    default: None,
    doc: "The statement; several, separated by `;`, when there are no `params`.",
};
pub(super) const PARAMS: Field = Field {
    name: "params",
    aliases: &["args", "parameters"],
    kind: Kind::List(&Kind::Any),
    required: false,
    default: None,
    doc: "Values for `$1`, `$2` … or for each `?`, in order. They are sent beside the statement, never written into it.",
};
pub(super) const MAX_ROWS: Field = Field {
    name: "max_rows",
    aliases: &[],
    kind: Kind::Integer { min: 1, max: 10_000_000 },
    required: false,
    default: Some("10000"),
    doc: "The most rows that are read; more are an error.",
};
pub(super) const ROWS: ResultField =
    ResultField { name: "rows", kind: "list", doc: "The rows, each a map by column, typed by the column." };
pub(super) const ROW_COUNT: ResultField =
    ResultField { name: "row_count", kind: "integer", doc: "How many rows there are." };
pub(super) const FIRST_ROW: ResultField =
    ResultField { name: "first_row", kind: "map", doc: "The first row; null when there is none." };
pub(super) const ERROR: ResultField = ResultField {
    name: "error",
    kind: "map",
    doc: "Null, or how the database refused: `code` (SQLSTATE; SQLite: its number), `message`, `detail`, `hint`, \
          `schema`, `table`, `column`, `constraint`, `position`.",
};

/// A statement to run.
pub(super) struct Statement<'a> {
    pub(super) query: &'a str,
    pub(super) params: &'a [Value],
    pub(super) max_rows: usize,
    pub(super) transaction: bool,
}

static COLUMN: Shape<2> = Shape::new(["name", "type"]);

/// A column of the answer.
#[derive(Debug)]
struct Column {
    name: ByteString,
    /// The database's name of its type.
    kind: ByteString,
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answer {
    rows: Option<Rows>,
    rows_affected: u64,
}

impl Answer {
    /// Takes in the rows of one statement: of several, those of the last that has any are kept.
    fn finish(&mut self, rows: Option<Rows>) {
        self.rows = rows.or(self.rows.take());
    }

    pub(super) fn row_count(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.list.len())
    }

    /// As the step's result.
    pub(super) fn into_entries(self) -> Vec<(ByteString, Value)> {
        let (columns, rows) = match self.rows {
            Some(Rows { columns, list, .. }) => (columns.shown.clone(), list),
            None => (Value::list(Vec::new()), Vec::new()),
        };
        vec![
            (ByteString::from_static("row_count"), Value::from(rows.len())),
            (ByteString::from_static("first_row"), rows.first().cloned().unwrap_or_default()),
            (ByteString::from_static("rows"), Value::list(rows)),
            (ByteString::from_static("rows_affected"), Value::from(self.rows_affected)),
            (ByteString::from_static("columns"), columns),
        ]
    }
}

/// The columns of rows.
#[derive(Debug)]
struct Columns {
    /// Where each column's value goes: of several with one name, the last counts.
    places: Vec<usize>,
    /// Each name once, with nothing.
    empty: Vec<(ByteString, Value)>,
    /// As a result has them.
    shown: Value,
}

impl Columns {
    fn new(list: Vec<Column>) -> Self {
        let mut empty: Vec<(ByteString, Value)> = Vec::with_capacity(list.len());
        let mut places = Vec::with_capacity(list.len());
        let mut shown = Vec::with_capacity(list.len());
        for column in list {
            shown.push(COLUMN.map([Value::Text(column.name.clone()), Value::Text(column.kind)]));
            let place = empty.iter().position(|(name, _)| *name == column.name).unwrap_or(empty.len());
            if place == empty.len() {
                empty.push((column.name, Value::Null));
            }
            places.push(place);
        }
        Self { places, empty, shown: Value::list(shown) }
    }
}

/// Rows with the same columns.
#[derive(Debug)]
struct Rows {
    columns: Arc<Columns>,
    bytes: usize,
    list: Vec<Value>,
}

impl Rows {
    fn new(columns: Arc<Columns>) -> Self {
        Self { columns, bytes: 0, list: Vec::new() }
    }

    fn of(columns: Vec<Column>) -> Self {
        Self::new(Arc::new(Columns::new(columns)))
    }

    fn add(&mut self, values: Vec<Value>, max_rows: usize) -> Result<(), SqlError> {
        if self.list.len() >= max_rows {
            return Err(SqlError::TooMuch(format!("there are more than {max_rows} rows (`max_rows`)")));
        }
        let mut entries = self.columns.empty.clone();
        for (value, place) in values.into_iter().zip(&self.columns.places) {
            self.bytes += match &value {
                Value::Text(text) => text.len(),
                Value::Bytes(bytes) => bytes.len(),
                Value::Raw(raw) => raw.text().len(),
                _ => 8,
            };
            entries[*place].1 = value;
        }
        if self.bytes > MAX_BYTES {
            return Err(SqlError::TooMuch(format!("the rows hold more than {} MiB", MAX_BYTES >> 20)));
        }
        let entries = Entries::of_distinct(entries);
        self.list.push(Value::Map(Arc::new(Map { entries, ignore_case: false })));
        Ok(())
    }
}

/// The database did not do what it was asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusal {
    code: ByteString,
    message: ByteString,
    detail: Option<ByteString>,
    hint: Option<ByteString>,
    schema: Option<ByteString>,
    table: Option<ByteString>,
    column: Option<ByteString>,
    constraint: Option<ByteString>,
    /// Of the character in the statement, from 1.
    position: Option<i64>,
}

impl Refusal {
    pub(super) fn value(&self) -> Value {
        let text = |text: &Option<ByteString>| text.clone().map_or(Value::Null, Value::Text);
        Value::map([
            ("code", Value::Text(self.code.clone())),
            ("message", Value::Text(self.message.clone())),
            ("detail", text(&self.detail)),
            ("hint", text(&self.hint)),
            ("schema", text(&self.schema)),
            ("table", text(&self.table)),
            ("column", text(&self.column)),
            ("constraint", text(&self.constraint)),
            ("position", self.position.map_or(Value::Null, Value::Int)),
        ])
    }

    fn line(&self) -> String {
        let mut line = format!("{} ({})", self.message, self.code);
        for more in [&self.detail, &self.hint].into_iter().flatten() {
            line.push_str(": ");
            line.push_str(more);
        }
        line
    }

    /// Whether it is the statement's own fault: repeating it does not help.
    pub(super) fn is_final(&self) -> bool {
        // Class 42 is syntax and access, 22 data; 42P01 and its like: the table may come.
        let may_come = ["42P01", "42703", "3F000", "42S02", "42S22"];
        (self.code.starts_with("42") || self.code.starts_with("22")) && !may_come.contains(&&*self.code)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum SqlError {
    /// The statement was refused, and the connection is fine.
    Refused(Box<Refusal>),
    /// There is no connection, or it broke.
    Broken(String),
    /// The network policy denies it.
    Denied(String),
    /// The step's settings are wrong.
    Config(String),
    /// The answer is larger than the step takes, or makes no sense.
    TooMuch(String),
}

impl SqlError {
    fn broken(error: impl std::error::Error) -> Self {
        Self::Broken(chain(&error))
    }

    fn garbage(what: &str) -> Self {
        Self::TooMuch(format!("the server sent {what}"))
    }

    fn into_action_error(self, target: &str) -> ActionError {
        let (kind, message) = match self {
            SqlError::Refused(refusal) => (ErrorKind::Protocol, refusal.line()),
            SqlError::Broken(message) => (ErrorKind::Connection, message),
            SqlError::Denied(message) => (ErrorKind::Policy, message),
            SqlError::Config(message) => (ErrorKind::Config, message),
            SqlError::TooMuch(message) => (ErrorKind::Protocol, message),
        };
        ActionError::new(kind, format!("`{target}`: {message}"))
    }
}

impl From<NetError> for SqlError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Denied { .. } => SqlError::Denied(error.to_string()),
            NetError::Resolve { .. } | NetError::Connect { .. } => SqlError::broken(error),
        }
    }
}

impl From<TlsError> for SqlError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Settings { .. } => SqlError::Config(error.to_string()),
            TlsError::Handshake { .. } => SqlError::broken(error),
        }
    }
}

/// How a connection reaches its server.
struct Reach<'a> {
    connector: &'a Connector,
    files: &'a Files,
    tls: &'a TlsClient,
}

impl Reach<'_> {
    async fn tls_options(&self, server: &Server) -> Result<TlsOptions, SqlError> {
        let certificate = self.pem(server.certificate.as_deref()).await?;
        let key = self.pem(server.key.as_deref()).await?;
        Ok(TlsOptions {
            verify: server.tls == TlsMode::Verify,
            ca: self.pem(server.authority.as_deref()).await?,
            identity: certificate
                .map(|certificate| Identity { key: key.unwrap_or_else(|| certificate.clone()), certificate }),
            ..TlsOptions::default()
        })
    }

    async fn pem(&self, path: Option<&str>) -> Result<Option<Bytes>, SqlError> {
        let Some(path) = path else { return Ok(None) };
        self.files.read(path, PEM_LIMIT).await.map(Some).map_err(|error| SqlError::Config(chain(&error)))
    }
}

enum Connection {
    Postgres(Box<postgres::Postgres>),
    MySql(Box<mysql::MySql>),
    Sqlite(sqlite::Sqlite),
}

impl Connection {
    async fn open(target: &Target, reach: &Reach<'_>) -> Result<Self, SqlError> {
        match target {
            Target::Postgres(server) => {
                within(server.connect_timeout, postgres::open(server, reach)).await.map(Box::new).map(Self::Postgres)
            }
            Target::MySql(server) => {
                within(server.connect_timeout, mysql::open(server, reach)).await.map(Box::new).map(Self::MySql)
            }
            Target::Sqlite(file) => sqlite::open(file, reach.files).await.map(Self::Sqlite),
        }
    }

    async fn run(&mut self, statement: &Statement<'_>) -> Result<Answer, SqlError> {
        match self {
            Self::Postgres(postgres) => postgres.run(statement).await,
            Self::MySql(mysql) => mysql.run(statement).await,
            Self::Sqlite(sqlite) => sqlite.run(statement).await,
        }
    }

    async fn is_usable(&mut self, since: Instant) -> bool {
        match self {
            Self::Postgres(postgres) => postgres.is_usable(),
            Self::MySql(mysql) => since.elapsed() < TRUSTED || mysql.answers().await,
            Self::Sqlite(_) => true,
        }
    }
}

async fn within<T>(limit: Option<Duration>, opening: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
    let Some(limit) = limit else { return opening.await };
    let late = |_| SqlError::Broken(format!("no connection within {limit:?} (`connect_timeout`)"));
    tokio::time::timeout(limit, opening).await.map_err(late)?
}

/// The databases of one run, by connection string.
#[derive(Default)]
struct Databases {
    known: Mutex<HashMap<ByteString, Arc<Place>>>,
    tls: TlsClient,
}

impl Databases {
    fn place(&self, text: &ByteString) -> Result<Arc<Place>, String> {
        let mut known = self.known.lock();
        if let Some(place) = known.get(text) {
            return Ok(Arc::clone(place));
        }
        let target = Target::parse(text)?;
        let place = Arc::new(Place { shown: target.shown(), target, idle: Mutex::default() });
        known.insert(text.clone(), Arc::clone(&place));
        Ok(place)
    }
}

/// A database of the run.
struct Place {
    target: Target,
    shown: ByteString,
    /// Connections that no step uses, and since when.
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// A database that a step asks.
pub(super) struct Database<'a> {
    cx: &'a ActionContext<'a>,
    databases: Arc<Databases>,
    place: Arc<Place>,
}

impl<'a> Database<'a> {
    /// The one that `connection` names.
    pub(super) fn of(cx: &'a ActionContext<'a>, config: &Resolved) -> Result<Self, ActionError> {
        let databases = cx.resource(Databases::default);
        let place = databases
            .place(&config.required_text("connection")?)
            .map_err(|problem| ActionError::new(ErrorKind::Config, format!("`connection` {problem}")))?;
        Ok(Self { cx, databases, place })
    }

    /// What may be shown of it.
    pub(super) fn shown(&self) -> ByteString {
        self.place.shown.clone()
    }

    /// Runs a statement on a connection of the run, or a new one.
    pub(super) async fn run(&self, statement: &Statement<'_>) -> Result<Answer, SqlError> {
        let mut connection = self.connection().await?;
        let outcome = connection.run(statement).await;
        // A wrong setting is found before anything is sent.
        if matches!(outcome, Ok(_) | Err(SqlError::Refused(_) | SqlError::Config(_))) {
            self.place.idle.lock().push((connection, Instant::now()));
        }
        outcome
    }

    /// An error that names the database.
    pub(super) fn error(&self, error: SqlError) -> ActionError {
        error.into_action_error(&self.place.shown)
    }

    async fn connection(&self) -> Result<Connection, SqlError> {
        loop {
            // The one used last: an open transaction goes on in the next step.
            let idle = self.place.idle.lock().pop();
            let Some((mut connection, since)) = idle else { break };
            if connection.is_usable(since).await {
                return Ok(connection);
            }
        }
        let reach = Reach { connector: self.cx.connector(), files: self.cx.files(), tls: &self.databases.tls };
        // On the heap: rare and large, and every statement would have to make room for it.
        Box::pin(Connection::open(&self.place.target, &reach)).await
    }
}

/// The statement of a configuration.
pub(super) fn max_rows(config: &Resolved) -> Result<usize, ActionError> {
    let rows = config.integer("max_rows")?.map(|rows| usize::try_from(rows).unwrap_or(1));
    Ok(rows.unwrap_or(DEFAULT_MAX_ROWS))
}

static REQUEST: Shape<2> = Shape::new(["connection", "query"]);
static REQUEST_WITH_PARAMS: Shape<3> = Shape::new(["connection", "query", "params"]);

/// What is kept of the question.
pub(super) fn request(database: &Database<'_>, query: &ByteString, params: &[Value]) -> Value {
    let (connection, query) = (Value::Text(database.shown()), Value::Text(query.clone()));
    if params.is_empty() {
        return REQUEST.map([connection, query]);
    }
    REQUEST_WITH_PARAMS.map([connection, query, Value::list(params.to_vec())])
}

/// A result of these entries, whose names differ, the request beside it.
pub(super) fn result(request: Value, entries: Vec<(ByteString, Value)>) -> ActionResult {
    let result = Value::Map(Arc::new(Map { entries: Entries::of_distinct(entries), ignore_case: false }));
    ActionResult { request: request.into(), response: result.clone().into(), result, primary: None }
}
