//! Where a connection string leads: a URL, `key=value` pairs as libpq takes them, or Go's MySQL form.
//!
//! What is shown of a target never has a password in it.

use std::time::Duration;

use bytestring::ByteString;
use percent_encoding::percent_decode_str;
use url::Url;

/// A database, as its connection string names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Postgres(Server),
    MySql(Server),
    Sqlite(SqliteFile),
}

/// A database server and who asks it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    pub(super) tls: TlsMode,
    /// PEM files, as written: the authority, the client's certificate and its key.
    pub(super) authority: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    /// Settings of the session, passed on as they are (`search_path`, `application_name` …).
    pub(super) settings: Vec<(String, String)>,
}

// Written by hand: the password must not be printed.
impl std::fmt::Debug for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Server").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// Whether the connection is made secure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsMode {
    Disable,
    /// Where the server offers it; the certificate is not checked.
    Prefer,
    /// Always; the certificate is not checked.
    Require,
    /// Always; certificate and name are checked.
    Verify,
}

/// An SQLite database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SqliteFile {
    /// As written; none: in memory, for as long as the run.
    pub(super) path: Option<String>,
    pub(super) create: bool,
    pub(super) read_only: bool,
}

impl Target {
    /// Reads a connection string.
    ///
    /// # Errors
    /// A fragment that says what is wrong with it, without repeating it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("postgres" | "postgresql") => server(text, 5432, "postgres").map(Target::Postgres),
            Some("mysql" | "mariadb") => server(text, 3306, "root").map(Target::MySql),
            Some("sqlite" | "sqlite3" | "file") => sqlite(text).map(Target::Sqlite),
            _ if text.contains("@tcp(") => go_mysql(text).map(Target::MySql),
            _ if pairs(text).is_some_and(|pairs| pairs.iter().any(|(key, _)| key == "host" || key == "dbname")) => {
                keywords(text).map(Target::Postgres)
            }
            _ if text == ":memory:" => sqlite("sqlite::memory:").map(Target::Sqlite),
            _ => {
                Err("takes `postgres://user:password@host:5432/database`, `mysql://user:password@host:3306/database` \
                      or `sqlite:path/to/file.db`"
                    .to_owned())
            }
        }
    }

    /// What may be shown of it.
    pub(super) fn shown(&self) -> ByteString {
        let server = |scheme, server: &Server| {
            let database = server.database.as_deref().unwrap_or_default();
            format!("{scheme}://{}@{}:{}/{database}", server.user, server.host, server.port).into()
        };
        match self {
            Target::Postgres(postgres) => server("postgres", postgres),
            Target::MySql(mysql) => server("mysql", mysql),
            Target::Sqlite(SqliteFile { path: Some(path), .. }) => format!("sqlite:{path}").into(),
            Target::Sqlite(SqliteFile { path: None, .. }) => ByteString::from_static("sqlite::memory:"),
        }
    }
}

fn blank(port: u16, user: &str) -> Server {
    Server {
        host: "localhost".to_owned(),
        port,
        user: user.to_owned(),
        password: None,
        database: None,
        tls: TlsMode::Prefer,
        authority: None,
        certificate: None,
        key: None,
        connect_timeout: None,
        settings: Vec::new(),
    }
}

fn server(text: &str, port: u16, user: &str) -> Result<Server, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut server = blank(url.port().unwrap_or(port), user);
    if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
        server.host = plain(host.trim_start_matches('[').trim_end_matches(']'));
    }
    if !url.username().is_empty() {
        server.user = plain(url.username());
    }
    server.password = url.password().map(plain);
    server.database = Some(plain(url.path().trim_start_matches('/'))).filter(|name| !name.is_empty());
    for (name, value) in url.query_pairs() {
        option(&mut server, &name, &value)?;
    }
    reachable(server)
}

/// One option of a connection string.
fn option(server: &mut Server, name: &str, value: &str) -> Result<(), String> {
    match name {
        "sslmode" | "ssl-mode" | "ssl_mode" | "tls" => server.tls = tls_mode(name, value)?,
        "sslrootcert" | "ssl-ca" | "ssl_ca" => server.authority = Some(value.to_owned()),
        "sslcert" | "ssl-cert" | "ssl_cert" => server.certificate = Some(value.to_owned()),
        "sslkey" | "ssl-key" | "ssl_key" => server.key = Some(value.to_owned()),
        "host" | "hostaddr" => value.clone_into(&mut server.host),
        "port" => server.port = value.parse().map_err(|_| format!("has no port number in `port`: `{value}`"))?,
        "user" => value.clone_into(&mut server.user),
        "password" => server.password = Some(value.to_owned()),
        "dbname" => server.database = Some(value.to_owned()),
        "connect_timeout" => {
            let seconds = value.parse().map_err(|_| "has no number of seconds in `connect_timeout`".to_owned())?;
            server.connect_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
        }
        // Pools and codecs of other libraries: nothing here depends on them.
        "parseTime"
        | "charset"
        | "collation"
        | "loc"
        | "pool_max_conns"
        | "pool_min_conns"
        | "binary_parameters"
        | "gssencmode"
        | "channel_binding"
        | "target_session_attrs"
        | "allowNativePasswords"
        | "multiStatements" => {}
        _ => server.settings.push((name.to_owned(), value.to_owned())),
    }
    Ok(())
}

fn tls_mode(name: &str, value: &str) -> Result<TlsMode, String> {
    match value.to_ascii_lowercase().as_str() {
        "disable" | "disabled" | "false" => Ok(TlsMode::Disable),
        "allow" | "prefer" | "preferred" => Ok(TlsMode::Prefer),
        "require" | "required" | "skip-verify" => Ok(TlsMode::Require),
        "verify-ca" | "verify-full" | "verify_ca" | "verify_identity" | "true" => Ok(TlsMode::Verify),
        _ => Err(format!("has `{name}` = `{value}`: it takes disable, prefer, require, verify-ca or verify-full")),
    }
}

fn reachable(server: Server) -> Result<Server, String> {
    if server.host.starts_with('/') {
        return Err("names a Unix socket: only TCP is supported".to_owned());
    }
    Ok(server)
}

/// `host=localhost user=me password='a b'`.
fn keywords(text: &str) -> Result<Server, String> {
    let mut server = blank(5432, "postgres");
    for (name, value) in pairs(text).unwrap_or_default() {
        option(&mut server, &name, &value)?;
    }
    reachable(server)
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, left) = quoted_or_word(after.trim_start())?;
        pairs.push((name.trim().to_owned(), value));
        rest = left.trim_start();
    }
    Some(pairs)
}

/// A value up to the next space, or in single quotes with backslashes, and what follows it.
fn quoted_or_word(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

/// `user:password@tcp(host:3306)/database?tls=false`.
fn go_mysql(text: &str) -> Result<Server, String> {
    let broken = || "is no `user:password@tcp(host:port)/database`".to_owned();
    let (login, rest) = text.rsplit_once("@tcp(").ok_or_else(broken)?;
    let (address, rest) = rest.split_once(')').ok_or_else(broken)?;
    let mut server = blank(3306, "root");
    let (user, password) =
        login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password.to_owned())));
    user.clone_into(&mut server.user);
    server.password = password;
    match address.rsplit_once(':') {
        Some((host, port)) => {
            host.clone_into(&mut server.host);
            server.port = port.parse().map_err(|_| broken())?;
        }
        None => address.clone_into(&mut server.host),
    }
    let (database, query) = rest.trim_start_matches('/').split_once('?').unwrap_or((rest.trim_start_matches('/'), ""));
    server.database = Some(database.to_owned()).filter(|name| !name.is_empty());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        option(&mut server, &name, &value)?;
    }
    reachable(server)
}

fn sqlite(text: &str) -> Result<SqliteFile, String> {
    let (_, rest) = text.split_once(':').unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.strip_prefix("//").unwrap_or(path);
    let mut file = SqliteFile {
        path: Some(percent_decode_str(path).decode_utf8_lossy().into_owned()),
        create: false,
        read_only: false,
    };
    let mut memory = path == ":memory:" || path.is_empty();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("mode", "ro") => file.read_only = true,
            ("mode", "rwc") => file.create = true,
            ("mode", "memory") => memory = true,
            ("mode", "rw") | ("cache", _) => {}
            (name, value) => return Err(format!("has `{name}` = `{value}`: only `mode=ro|rw|rwc|memory` is known")),
        }
    }
    if memory {
        file.path = None;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Target::parse(text).map_or_else(|refused| format!("refused: {refused}"), |target| target.shown().to_string())
    }

    #[test]
    fn every_usual_spelling_is_understood_and_shown_without_its_password() {
        for (text, expected) in [
            ("postgres://root:ad%40min@db:5433/shop?sslmode=disable", "postgres://root@db:5433/shop"),
            ("postgresql://localhost", "postgres://postgres@localhost:5432/"),
            ("postgres://me@[::1]/x", "postgres://me@::1:5432/x"),
            ("host=db port=6000 user=me password='a b\\'c' dbname=shop sslmode=require", "postgres://me@db:6000/shop"),
            ("mysql://app:secret@db/shop", "mysql://app@db:3306/shop"),
            ("mariadb://db:3307", "mysql://root@db:3307/"),
            ("app:se:cr@et@tcp(db:3306)/shop?parseTime=true", "mysql://app@db:3306/shop"),
            ("sqlite:data/shop.db", "sqlite:data/shop.db"),
            ("sqlite:///var/shop.db?mode=ro", "sqlite:/var/shop.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("sqlite://shop.db?mode=memory", "sqlite::memory:"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
            assert!(!format!("{:?}", Target::parse(text)).contains("secret"), "{text}");
        }
    }

    #[test]
    fn passwords_and_modes_are_read() {
        let Ok(Target::Postgres(server)) =
            Target::parse("postgres://root:ad%40min@db/x?sslmode=verify-full&search_path=a")
        else {
            panic!("a PostgreSQL target");
        };
        assert_eq!((server.password.as_deref(), server.tls), (Some("ad@min"), TlsMode::Verify));
        assert_eq!(server.settings, [("search_path".to_owned(), "a".to_owned())]);
        let Ok(Target::Postgres(server)) = Target::parse("host=db password='a b\\'c'") else { panic!("a target") };
        assert_eq!(server.password.as_deref(), Some("a b'c"));
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_the_text() {
        for (text, expected) in [
            ("oracle://user:secret@db", "takes `postgres://"),
            ("postgres://u:secret@db/x?sslmode=maybe", "`sslmode` = `maybe`"),
            ("host=/var/run user=u password=secret", "Unix socket"),
            ("postgres://u:secret@db:70000/x", "is no URL"),
            ("sqlite:x?mode=fast", "mode=ro"),
            ("secret", "takes `postgres://"),
        ] {
            let refused = Target::parse(text).expect_err(text);
            assert!(refused.contains(expected), "{text}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
