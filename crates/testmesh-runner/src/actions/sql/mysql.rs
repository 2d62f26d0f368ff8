//! MySQL and MariaDB, through a client that connects to addresses which the run's network policy has allowed.

use std::net::IpAddr;

use bytestring::ByteString;
use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::prelude::{Protocol, Queryable};
use mysql_async::{
    ClientIdentity, Column as MyColumn, Conn, DriverError, Error, OptsBuilder, Params, QueryResult, SslOpts,
};
use rust_decimal::Decimal;

use super::placeholders::{Style, place};
use super::target::{Server, TlsMode};
use super::{Answer, Column, Reach, Refusal, Rows, SqlError, Statement, chain};
use crate::value::Value;

/// The character set of bytes that are no text.
const BINARY: u16 = 63;

/// A connection.
pub(super) struct MySql {
    connection: Conn,
}

/// Opens a connection.
pub(super) async fn open(server: &Server, reach: &Reach<'_>) -> Result<MySql, SqlError> {
    let addresses = reach.connector.resolve(&server.host, server.port).await?;
    let addresses: Vec<IpAddr> = addresses.iter().map(std::net::SocketAddr::ip).collect();
    let options = |ssl: Option<SslOpts>| {
        OptsBuilder::default()
            .ip_or_hostname(server.host.clone())
            .tcp_port(server.port)
            .resolved_ips(Some(addresses.clone()))
            // Never another way than the addresses above.
            .prefer_socket(false)
            .user(Some(server.user.clone()))
            .pass(server.password.clone())
            .db_name(server.database.clone())
            .stmt_cache_size(0)
            .init(vec!["set time_zone = '+00:00'"])
            .ssl_opts(ssl)
    };
    let secure = ssl(server, reach).await?;
    let wanted = secure.is_some();
    let opened = match Conn::new(options(secure)).await {
        Err(Error::Driver(DriverError::NoClientSslFlagFromServer)) if wanted && server.tls == TlsMode::Prefer => {
            Conn::new(options(None)).await
        }
        opened => opened,
    };
    opened.map(|connection| MySql { connection }).map_err(|error| match error {
        Error::Server(refused) => SqlError::Broken(format!("{} ({})", refused.message, refused.state)),
        error => SqlError::broken(error),
    })
}

async fn ssl(server: &Server, reach: &Reach<'_>) -> Result<Option<SslOpts>, SqlError> {
    let unchecked = match server.tls {
        TlsMode::Disable => return Ok(None),
        TlsMode::Prefer | TlsMode::Require => true,
        TlsMode::Verify => false,
    };
    let mut options =
        SslOpts::default().with_danger_accept_invalid_certs(unchecked).with_danger_skip_domain_validation(unchecked);
    if let Some(authority) = reach.pem(server.authority.as_deref()).await? {
        options = options.with_root_certs(vec![authority.to_vec().into()]);
    }
    if let Some(certificate) = reach.pem(server.certificate.as_deref()).await? {
        // Without a key of its own, the key stands beside the certificate.
        let key = reach.pem(server.key.as_deref()).await?.unwrap_or_else(|| certificate.clone());
        options =
            options.with_client_identity(Some(ClientIdentity::new(certificate.to_vec().into(), key.to_vec().into())));
    }
    Ok(Some(options))
}

impl MySql {
    /// Whether the server still answers.
    pub(super) async fn answers(&mut self) -> bool {
        self.connection.ping().await.is_ok()
    }

    /// Runs a statement, or several when there are no parameters.
    pub(super) async fn run(&mut self, statement: &Statement<'_>) -> Result<Answer, SqlError> {
        if !statement.transaction {
            return self.ask(statement).await;
        }
        self.connection.query_drop("start transaction").await.map_err(failed)?;
        let answer = self.ask(statement).await;
        let end = if answer.is_ok() { "commit" } else { "rollback" };
        self.connection.query_drop(end).await.map_err(failed)?;
        answer
    }

    async fn ask(&mut self, statement: &Statement<'_>) -> Result<Answer, SqlError> {
        if statement.params.is_empty() {
            let result = self.connection.query_iter(statement.query).await.map_err(failed)?;
            return read(result, statement.max_rows).await;
        }
        let placed = place(statement.query, statement.params.len(), Style::Question).map_err(SqlError::Config)?;
        let params = placed.order.iter().map(|index| sent(&statement.params[*index])).collect();
        let result = self.connection.exec_iter(placed.text, Params::Positional(params)).await.map_err(failed)?;
        read(result, statement.max_rows).await
    }
}

/// Reads every result set; the rows of the last one that has columns are kept.
async fn read<P: Protocol>(mut result: QueryResult<'_, '_, P>, max_rows: usize) -> Result<Answer, SqlError> {
    let mut answer = Answer::default();
    loop {
        let columns = result.columns();
        let described: &[MyColumn] = columns.as_deref().unwrap_or_default();
        let mut rows = (!described.is_empty()).then(|| Rows::of(described.iter().map(column).collect()));
        answer.rows_affected += if rows.is_some() { 0 } else { result.affected_rows() };
        while let Some(row) = result.next().await.map_err(failed)? {
            let values =
                row.unwrap().into_iter().zip(described).map(|(value, column)| value_of(value, column)).collect();
            if let Some(rows) = &mut rows {
                rows.add(values, max_rows)?;
            }
        }
        answer.finish(rows);
        if result.is_empty() {
            // A refusal of the statement that would come next is told only here.
            return result.drop_result().await.map(|()| answer).map_err(failed);
        }
    }
}

fn column(column: &MyColumn) -> Column {
    let kind = format!("{:?}", column.column_type());
    let kind = kind.strip_prefix("MYSQL_TYPE_").unwrap_or(&kind).to_ascii_lowercase();
    Column { name: ByteString::from(column.name_str().into_owned()), kind: kind.into() }
}

/// A value by the type of its column. Without parameters everything arrives as text, with them as what it is.
fn value_of(value: mysql_async::Value, column: &MyColumn) -> Value {
    use mysql_async::Value as My;
    match value {
        My::NULL => Value::Null,
        My::Int(number) => Value::Int(number),
        My::UInt(number) => Value::from(number),
        // The shortest text that is this number, and not the digits that widening adds.
        My::Float(number) => Value::Float(number.to_string().parse().unwrap_or_else(|_| f64::from(number))),
        My::Double(number) => Value::Float(number),
        My::Date(year, month, day, hour, minute, second, micros) => {
            let date = format!("{year:04}-{month:02}-{day:02}");
            if column.column_type() == ColumnType::MYSQL_TYPE_DATE {
                return Value::from(date);
            }
            Value::from(format!("{date}T{hour:02}:{minute:02}:{second:02}{}", fraction(micros)))
        }
        My::Time(negative, days, hours, minutes, seconds, micros) => {
            let sign = if negative { "-" } else { "" };
            let hours = days * 24 + u32::from(hours);
            Value::from(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{}", fraction(micros)))
        }
        My::Bytes(bytes) => text_of(bytes, column),
    }
}

fn fraction(micros: u32) -> String {
    if micros == 0 { String::new() } else { format!(".{micros:06}").trim_end_matches('0').to_owned() }
}

fn text_of(bytes: Vec<u8>, column: &MyColumn) -> Value {
    let bits = column.column_type() == ColumnType::MYSQL_TYPE_BIT;
    let binary = column.character_set() == BINARY && column.flags().contains(ColumnFlags::BINARY_FLAG);
    let of_text = matches!(
        column.column_type(),
        ColumnType::MYSQL_TYPE_STRING
            | ColumnType::MYSQL_TYPE_VAR_STRING
            | ColumnType::MYSQL_TYPE_VARCHAR
            | ColumnType::MYSQL_TYPE_BLOB
            | ColumnType::MYSQL_TYPE_TINY_BLOB
            | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
            | ColumnType::MYSQL_TYPE_LONG_BLOB
    );
    if bits || (of_text && binary) {
        return Value::Bytes(bytes.into());
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Value::Bytes(error.into_bytes().into()),
    };
    let read = match column.column_type() {
        ColumnType::MYSQL_TYPE_TINY
        | ColumnType::MYSQL_TYPE_SHORT
        | ColumnType::MYSQL_TYPE_LONG
        | ColumnType::MYSQL_TYPE_INT24
        | ColumnType::MYSQL_TYPE_LONGLONG
        | ColumnType::MYSQL_TYPE_YEAR => {
            text.parse().map(Value::Int).ok().or_else(|| text.parse::<u64>().map(Value::from).ok())
        }
        ColumnType::MYSQL_TYPE_FLOAT | ColumnType::MYSQL_TYPE_DOUBLE => text.parse().map(Value::Float).ok(),
        ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => {
            Decimal::from_str_exact(&text).map(Value::Decimal).ok()
        }
        ColumnType::MYSQL_TYPE_JSON => Value::from_json_bytes(text.clone().into_bytes().into()).ok(),
        ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_TIMESTAMP => {
            Some(Value::from(text.replacen(' ', "T", 1)))
        }
        _ => None,
    };
    read.unwrap_or_else(|| Value::from(text))
}

fn sent(value: &Value) -> mysql_async::Value {
    use mysql_async::Value as My;
    match value {
        Value::Null => My::NULL,
        Value::Bool(truth) => My::Int(i64::from(*truth)),
        Value::Int(number) => My::Int(*number),
        Value::UInt(number) => My::UInt(*number),
        Value::Float(number) => My::Double(*number),
        Value::Bytes(bytes) => My::Bytes(bytes.to_vec()),
        _ => My::Bytes(value.to_text().map(|text| text.as_bytes().to_vec()).unwrap_or_default()),
    }
}

fn failed(error: Error) -> SqlError {
    match error {
        Error::Server(refused) => SqlError::Refused(Box::new(Refusal {
            code: refused.state.into(),
            message: refused.message.into(),
            detail: Some(format!("error {}", refused.code).into()),
            ..Refusal::default()
        })),
        error => SqlError::Broken(chain(&error)),
    }
}
