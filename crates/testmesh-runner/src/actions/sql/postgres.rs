//! PostgreSQL: parameters go as text, so that the server decides their types, and every value comes back as text with the
//! type of its column. One round trip a statement.
//!
//! The client is the protocol's message library over a socket that the run's connector opened: no client library lets a
//! name be resolved under the network policy and still be checked in the certificate.

mod kept;
mod login;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use fallible_iterator::FallibleIterator;
use futures::FutureExt;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::{DataRowBody, ErrorResponseBody, Message, RowDescriptionBody};
use postgres_protocol::message::frontend;
use postgres_types::{Oid, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::kept::{Described, History, may_be_outdated};
use super::placeholders::{Style, place};
use super::{Answer, Column, Columns, Refusal, Rows, SqlError, Statement};
use crate::value::Value;
use testmesh_shared::tls::TlsStream;

pub(super) use self::login::open;

/// Most bytes that one message may have.
const MESSAGE_LIMIT: usize = 64 << 20;

/// A connection.
pub(super) struct Postgres {
    stream: Stream,
    received: BytesMut,
    /// What the server said last of its transaction: `I`dle, in a `T`ransaction, or in one that `E`rred.
    status: u8,
    /// Whether an answer was left unread: the connection cannot be used again.
    spoilt: bool,
    history: History,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl Postgres {
    /// Whether the next statement can use it: the server neither hung up nor said something unasked.
    pub(super) fn is_usable(&self) -> bool {
        !self.spoilt && self.received.is_empty() && self.stream.tcp().peek(&mut [0]).now_or_never().is_none()
    }

    /// Runs a statement, or several when there are no parameters.
    pub(super) async fn run(&mut self, statement: &Statement<'_>) -> Result<Answer, SqlError> {
        if !statement.transaction {
            let answer = self.ask(statement).await;
            if self.status == b'E' && !self.spoilt {
                self.simple("rollback", 0).await?;
            }
            return answer;
        }
        self.simple("begin", 0).await?;
        let answer = self.ask(statement).await;
        if self.spoilt {
            return answer;
        }
        let end = if answer.is_ok() { "commit" } else { "rollback" };
        self.simple(end, 0).await?;
        answer
    }

    async fn ask(&mut self, statement: &Statement<'_>) -> Result<Answer, SqlError> {
        if statement.params.is_empty() {
            return self.simple(statement.query, statement.max_rows).await;
        }
        // Within a transaction there is no second try.
        if self.status != b'I' {
            return self.ask_as(statement, String::new()).await.map(|exchanged| exchanged.answer);
        }
        if let Some(kept) = self.history.kept(statement) {
            let mut out = BytesMut::new();
            bind(&kept.name, &written(statement, &kept.described.parameters), &mut out)?;
            match self.exchange(&mut out, statement.max_rows, kept.described.shape.clone()).await {
                Err(SqlError::Refused(refusal)) if may_be_outdated(&refusal) => {
                    self.history.give_up(statement, kept.name.clone());
                }
                outcome => return outcome.map(|exchanged| exchanged.answer),
            }
        }
        let name = self.history.name(statement);
        match self.ask_as(statement, name.clone()).await {
            Ok(exchanged) => {
                if !name.is_empty() {
                    self.history.keep(statement, name, exchanged.described);
                }
                Ok(exchanged.answer)
            }
            Err(error) => {
                self.history.give_up(statement, name);
                Err(error)
            }
        }
    }

    /// Has a statement parsed, under a name that the server keeps or under none, and runs it.
    async fn ask_as(&mut self, statement: &Statement<'_>, name: String) -> Result<Exchanged, SqlError> {
        let placed = place(statement.query, statement.params.len(), Style::Numbered).map_err(SqlError::Config)?;
        let mut out = BytesMut::new();
        self.history.close_outdated(&mut out)?;
        frontend::parse(&name, &placed.text, std::iter::empty(), &mut out).map_err(SqlError::broken)?;
        frontend::describe(b'S', &name, &mut out).map_err(SqlError::broken)?;
        // How a list is written depends on what it is for: the server is asked first.
        if !statement.params.iter().any(Value::is_list) {
            bind(&name, &written(statement, &[]), &mut out)?;
            return self.exchange(&mut out, statement.max_rows, None).await;
        }
        frontend::sync(&mut out);
        let described = self.exchange(&mut out, statement.max_rows, None).await?.described;
        bind(&name, &written(statement, &described.parameters), &mut out)?;
        let exchanged = self.exchange(&mut out, statement.max_rows, described.shape.clone()).await?;
        Ok(Exchanged { described, ..exchanged })
    }

    async fn simple(&mut self, query: &str, max_rows: usize) -> Result<Answer, SqlError> {
        let mut out = BytesMut::new();
        frontend::query(query, &mut out).map_err(SqlError::broken)?;
        self.exchange(&mut out, max_rows, None).await.map(|exchanged| exchanged.answer)
    }

    /// Sends what is in `out` and reads until the server is ready again. `shape` is that of the rows that come, when the
    /// server does not say it first.
    async fn exchange(
        &mut self,
        out: &mut BytesMut,
        max_rows: usize,
        shape: Option<Arc<Shape>>,
    ) -> Result<Exchanged, SqlError> {
        // Unread until the end is reached: a future that is dropped on the way leaves it so.
        self.spoilt = true;
        self.send(out).await?;
        let mut exchanged = Exchanged::default();
        let mut rows = shape.map(Received::of);
        let mut refusal = None;
        loop {
            match self.receive().await {
                Ok(Message::RowDescription(body)) => {
                    exchanged.answer.finish(rows.take().map(Received::into_rows));
                    let shape = Arc::new(Shape::read(&body)?);
                    exchanged.described.shape = Some(Arc::clone(&shape));
                    rows = Some(Received::of(shape));
                }
                Ok(Message::DataRow(body)) => {
                    let rows = rows.as_mut().ok_or_else(|| SqlError::garbage("a row without its columns"))?;
                    rows.add(&body, max_rows)?;
                }
                Ok(Message::CommandComplete(body)) => {
                    exchanged.answer.finish(rows.take().map(Received::into_rows));
                    exchanged.answer.rows_affected += affected(body.tag().map_err(SqlError::broken)?);
                }
                Ok(Message::ParameterDescription(body)) => exchanged.described.parameters = parameters(&body)?,
                Ok(Message::ErrorResponse(body)) => {
                    refusal.get_or_insert(refused(&body)?);
                }
                Ok(Message::CopyInResponse(_)) => self.refuse_copy().await?,
                Ok(Message::ReadyForQuery(body)) => {
                    self.status = body.status();
                    self.spoilt = false;
                    out.clear();
                    return refusal.map_or(Ok(exchanged), |refusal| Err(SqlError::Refused(Box::new(refusal))));
                }
                Ok(_) => {}
                Err(error) => {
                    return Err(match refusal {
                        Some(refusal) => SqlError::Broken(refusal.message.to_string()),
                        None => error,
                    });
                }
            }
        }
    }

    async fn refuse_copy(&mut self) -> Result<(), SqlError> {
        let mut out = BytesMut::new();
        frontend::copy_fail("a flow has no rows to copy in", &mut out).map_err(SqlError::broken)?;
        self.send(&out).await
    }

    async fn send(&mut self, out: &[u8]) -> Result<(), SqlError> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(out).await,
            Stream::Tls(tls) => async { tls.write_all(out).await.map(|()| tls)?.flush().await }.await,
        }
        .map_err(SqlError::broken)
    }

    async fn receive(&mut self) -> Result<Message, SqlError> {
        loop {
            if let Some(message) = Message::parse(&mut self.received).map_err(SqlError::broken)? {
                return Ok(message);
            }
            if self.received.len() > MESSAGE_LIMIT {
                return Err(SqlError::garbage("a message of more than 64 MiB"));
            }
            let read = match &mut self.stream {
                Stream::Plain(tcp) => tcp.read_buf(&mut self.received).await,
                Stream::Tls(tls) => tls.read_buf(&mut self.received).await,
            };
            if read.map_err(SqlError::broken)? == 0 {
                return Err(SqlError::Broken("the server closed the connection".to_owned()));
            }
        }
    }
}

/// What came back on one request.
#[derive(Default)]
struct Exchanged {
    answer: Answer,
    described: Described,
}

/// The texts that parameters are sent as. Without types there are no lists among them.
fn written(statement: &Statement<'_>, types: &[Oid]) -> Vec<Option<ByteString>> {
    let params = statement.params.iter().enumerate();
    params.map(|(at, param)| value::written(param, types.get(at).copied())).collect()
}

fn bind(name: &str, texts: &[Option<ByteString>], out: &mut BytesMut) -> Result<(), SqlError> {
    let written = |text: &Option<ByteString>, out: &mut BytesMut| {
        let Some(text) = text else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    };
    // No formats at all: everything is text, both ways.
    let no_formats = std::iter::empty::<i16>;
    frontend::bind("", name, no_formats(), texts, written, no_formats(), out)
        .map_err(|_| SqlError::Config("a parameter is too large".to_owned()))?;
    frontend::execute("", 0, out).map_err(SqlError::broken)?;
    frontend::sync(out);
    Ok(())
}

/// What rows look like.
#[derive(Debug)]
struct Shape {
    types: Vec<Type>,
    columns: Arc<Columns>,
}

impl Shape {
    fn read(body: &RowDescriptionBody) -> Result<Self, SqlError> {
        let mut types = Vec::new();
        let mut columns = Vec::new();
        let mut fields = body.fields();
        while let Some(field) = fallible(fields.next())? {
            let known = Type::from_oid(field.type_oid()).unwrap_or(Type::TEXT);
            columns.push(Column { name: field.name().into(), kind: known.name().into() });
            types.push(known);
        }
        Ok(Self { types, columns: Arc::new(Columns::new(columns)) })
    }
}

/// The rows of one statement as they arrive.
struct Received {
    shape: Arc<Shape>,
    rows: Rows,
}

impl Received {
    fn of(shape: Arc<Shape>) -> Self {
        Self { rows: Rows::new(Arc::clone(&shape.columns)), shape }
    }

    fn add(&mut self, body: &DataRowBody, max_rows: usize) -> Result<(), SqlError> {
        let buffer: &Bytes = body.buffer_bytes();
        let mut values = Vec::with_capacity(self.shape.types.len());
        let mut ranges = body.ranges();
        for column in &self.shape.types {
            let range = fallible(ranges.next())?.flatten();
            values.push(match range {
                Some(range) => value::read(column, &buffer.slice(range)),
                None => Value::Null,
            });
        }
        self.rows.add(values, max_rows)
    }

    fn into_rows(self) -> Rows {
        self.rows
    }
}

fn parameters(body: &postgres_protocol::message::backend::ParameterDescriptionBody) -> Result<Vec<Oid>, SqlError> {
    let mut found = Vec::new();
    let mut parameters = body.parameters();
    while let Some(oid) = fallible(parameters.next())? {
        found.push(oid);
    }
    Ok(found)
}

fn fallible<T>(next: std::io::Result<Option<T>>) -> Result<Option<T>, SqlError> {
    next.map_err(SqlError::broken)
}

/// `INSERT 0 3`, `UPDATE 2`: how many; what only reads changed none.
fn affected(tag: &str) -> u64 {
    let mut words = tag.split(' ');
    match words.next() {
        Some("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY") => {
            words.next_back().and_then(|count| count.parse().ok()).unwrap_or(0)
        }
        _ => 0,
    }
}

fn refused(body: &ErrorResponseBody) -> Result<Refusal, SqlError> {
    let mut found: HashMap<u8, ByteString> = HashMap::new();
    let mut fields = body.fields();
    while let Some(field) = fallible(fields.next())? {
        found.insert(field.type_(), String::from_utf8_lossy(field.value_bytes()).into_owned().into());
    }
    let mut take = |letter: u8| found.remove(&letter);
    // The letters are those of the protocol, appendix "Error and Notice Message Fields".
    Ok(Refusal {
        code: take(b'C').unwrap_or_default(),
        message: take(b'M').unwrap_or_default(),
        detail: take(b'D'),
        hint: take(b'H'),
        schema: take(b's'),
        table: take(b't'),
        column: take(b'c'),
        constraint: take(b'n'),
        position: take(b'P').and_then(|text| text.parse().ok()),
    })
}
