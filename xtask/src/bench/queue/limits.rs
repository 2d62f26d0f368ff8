//! What PostgreSQL and Redis do on this machine when nobody stands between: the limits that the queue is held against.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgPool, PgPoolOptions};

/// Connections that commit at the same time.
const CONNECTIONS: u32 = 32;
/// Rows or entries that go in one round trip.
const BATCH: usize = 100;
/// A message as long as the product's.
const PAYLOAD: usize = 300;

/// What was found, for one second each.
pub(super) struct Limits {
    /// Single-row inserts, each committed, over many connections.
    pub(super) commits: f64,
    /// Rows inserted in batches, each batch committed.
    pub(super) rows: f64,
    /// Entries added to a stream, read by a group, acknowledged and deleted, in batches.
    pub(super) pairs: f64,
    /// Milliseconds from adding an entry until a reader that waits has it, the median.
    pub(super) hand_over_ms: f64,
}

/// Measures each for `time`.
pub(super) async fn measure(postgres: &str, redis: u16, time: Duration) -> Result<Limits, String> {
    let failed = |error: sqlx::Error| format!("the bare database: {error}");
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(postgres).await.map_err(failed)?;
    for statement in ["drop table if exists bare", "create table bare (id bigserial primary key, record text not null)"]
    {
        sqlx::query(statement).execute(&pool).await.map_err(failed)?;
    }
    let commits = inserts(&pool, "insert into bare (record) values ($1)", 1, time).await.map_err(failed)?;
    let many = "insert into bare (record) select $1 from generate_series(1, 100)";
    let rows = inserts(&pool, many, BATCH, time).await.map_err(failed)?;
    sqlx::query("drop table bare").execute(&pool).await.map_err(failed)?;
    pool.close().await;
    let streams =
        tokio::task::spawn_blocking(move || Ok::<_, std::io::Error>((pairs(redis, time)?, hand_over(redis)?)));
    let streams = streams.await.map_err(|error| format!("the bare streams: {error}"))?;
    let (pairs, hand_over_ms) = streams.map_err(|error| format!("the bare streams: {error}"))?;
    Ok(Limits { commits, rows, pairs, hand_over_ms })
}

async fn inserts(pool: &PgPool, statement: &'static str, rows: usize, time: Duration) -> Result<f64, sqlx::Error> {
    let started = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let pool = pool.clone();
        lanes.spawn(async move {
            let record = "x".repeat(PAYLOAD);
            let mut count = 0_usize;
            let mut connection = pool.acquire().await?;
            while started.elapsed() < time {
                sqlx::query(statement).bind(&record).execute(&mut *connection).await?;
                count += rows;
            }
            Ok::<usize, sqlx::Error>(count)
        });
    }
    let mut count = 0;
    for lane in lanes.join_all().await {
        count += lane?;
    }
    Ok(per_second(count, started))
}

/// A connection that sends many commands and then reads as many answers.
struct Connection {
    stream: BufReader<TcpStream>,
    /// Commands that were sent and not answered.
    open: usize,
    commands: Vec<u8>,
}

impl Connection {
    fn new(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream: BufReader::with_capacity(1 << 16, stream), open: 0, commands: Vec::new() })
    }

    fn command(&mut self, words: &[&str]) {
        self.commands.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.commands.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        self.open += 1;
    }

    /// Sends what was said and reads every answer; the texts of the last one.
    fn exchange(&mut self) -> std::io::Result<Vec<String>> {
        self.stream.get_mut().write_all(&self.commands)?;
        self.commands.clear();
        let mut texts = Vec::new();
        for _ in 0..std::mem::take(&mut self.open) {
            texts.clear();
            self.answer(&mut texts)?;
        }
        Ok(texts)
    }

    fn answer(&mut self, texts: &mut Vec<String>) -> std::io::Result<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let (kind, rest) = line.trim_end().split_at(line.len().min(1));
        let count = || usize::try_from(rest.parse::<i64>().unwrap_or(-1)).unwrap_or(0);
        match kind {
            "*" => {
                for _ in 0..count() {
                    self.answer(texts)?;
                }
            }
            "$" if rest != "-1" => {
                let mut text = vec![0; count() + 2];
                self.stream.read_exact(&mut text)?;
                texts.push(String::from_utf8_lossy(&text[..count()]).into_owned());
            }
            "-" if !rest.starts_with("BUSYGROUP") => return Err(std::io::Error::other(rest.to_owned())),
            _ => {}
        }
        Ok(())
    }
}

fn pairs(port: u16, time: Duration) -> std::io::Result<f64> {
    let mut connection = Connection::new(port)?;
    let payload = "x".repeat(PAYLOAD);
    connection.command(&["XGROUP", "CREATE", "bare", "group", "0", "MKSTREAM"]);
    connection.exchange()?;
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < time {
        for _ in 0..BATCH {
            connection.command(&["XADD", "bare", "*", "payload", &payload]);
        }
        connection.command(&["XREADGROUP", "GROUP", "group", "reader", "COUNT", "100", "STREAMS", "bare", ">"]);
        let found = connection.exchange()?;
        let ids: Vec<&str> = found.iter().filter(|text| is_id(text)).map(String::as_str).collect();
        count += ids.len();
        connection.command(&[&["XACK", "bare", "group"], &ids[..]].concat());
        connection.command(&[&["XDEL", "bare"], &ids[..]].concat());
        connection.exchange()?;
    }
    let rate = per_second(count, started);
    connection.command(&["DEL", "bare"]);
    connection.exchange()?;
    Ok(rate)
}

/// Whether a text of an answer is an entry's id.
fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(time, number)| time.parse::<u64>().is_ok() && number.parse::<u64>().is_ok())
}

fn hand_over(port: u16) -> std::io::Result<f64> {
    const ROUNDS: usize = 500;
    let (mut writer, mut reader) = (Connection::new(port)?, Connection::new(port)?);
    writer.command(&["XGROUP", "CREATE", "bare", "group", "0", "MKSTREAM"]);
    writer.exchange()?;
    let (asked, waits) = std::sync::mpsc::channel::<()>();
    let (got, arrived) = std::sync::mpsc::channel::<Instant>();
    let reading = std::thread::spawn(move || {
        while waits.recv().is_ok() {
            reader.command(&["XREADGROUP", "GROUP", "group", "reader", "BLOCK", "5000", "STREAMS", "bare", ">"]);
            reader.exchange()?;
            if got.send(Instant::now()).is_err() {
                break;
            }
        }
        Ok::<(), std::io::Error>(())
    });
    let mut taken = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let _ = asked.send(());
        // The reader is to stand there when the entry comes.
        std::thread::sleep(Duration::from_millis(1));
        let sent = Instant::now();
        writer.command(&["XADD", "bare", "*", "payload", "x"]);
        writer.exchange()?;
        let Ok(at) = arrived.recv() else { break };
        taken.push(at.duration_since(sent));
    }
    drop(asked);
    reading.join().map_err(|_| std::io::Error::other("the reader died"))??;
    writer.command(&["DEL", "bare"]);
    writer.exchange()?;
    taken.sort_unstable();
    Ok(taken.get(taken.len() / 2).map_or(0.0, |taken| taken.as_secs_f64() * 1e3))
}

fn per_second(count: usize, started: Instant) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a count of rows fits in 53 bits")]
    let count = count as f64;
    count / started.elapsed().as_secs_f64()
}
