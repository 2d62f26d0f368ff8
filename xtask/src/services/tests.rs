//! Servers of our own: they answer, stop, come back, and leave nothing behind.

use sqlx::{Connection, PgConnection};

use super::*;

const BOTH: Wanted = Wanted { postgres: true, redis: true, faketime: false, missing: Missing::Skip };

/// The servers, where they are installed.
fn services() -> Option<(Postgres, Redis, Services)> {
    let mut services = Services::start(BOTH, &mut Vec::new()).unwrap();
    let (postgres, redis) = (services.postgres.take(), services.redis.take());
    let Some((postgres, redis)) = postgres.zip(redis) else {
        eprintln!("skipped: {}", services.missing.join("; "));
        return None;
    };
    Some((postgres, redis, services))
}

fn query(url: &str, statement: &'static str) -> Result<String, sqlx::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query_scalar(statement).fetch_one(&mut connection).await
    })
}

fn ask(redis: &Redis, command: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    stream.write_all(command.as_bytes()).unwrap();
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).trim().to_owned()
}

#[test]
fn postgresql_keeps_what_it_was_given_over_every_way_to_stop() {
    let Some((mut postgres, _redis, _services)) = services() else { return };
    let url = postgres.url();
    assert_eq!(query(&url, "select current_setting('fsync')").unwrap(), "on");
    // It answers with no row, which is no failure of the statement.
    query(&url, "create table kept (n text)").unwrap_err();
    for how in [Stop::Fast, Stop::Immediate] {
        query(&url, "insert into kept (n) values ('x') returning n").unwrap();
        postgres.stop(how).unwrap();
        query(&url, "select 'x'").unwrap_err();
        postgres.start().unwrap();
    }
    assert_eq!(query(&url, "select cast(count(*) as text) from kept").unwrap(), "2");
    assert!(url.contains(&postgres.port().to_string()));
}

#[test]
fn redis_stalls_goes_on_and_comes_back_empty() {
    let Some((_postgres, mut redis, _services)) = services() else { return };
    assert_eq!(ask(&redis, "SET a b\r\n"), "+OK");
    redis.pause().unwrap();
    assert_eq!(ask(&redis, "GET a\r\n"), "");
    redis.resume().unwrap();
    assert_eq!(ask(&redis, "EXISTS a\r\n"), ":1");
    redis.kill().unwrap();
    redis.start().unwrap();
    assert_eq!(ask(&redis, "EXISTS a\r\n"), ":0");
    assert!(redis.url().ends_with(&redis.port().to_string()));
}

#[test]
fn nothing_is_left_when_they_are_dropped() {
    let Some((postgres, redis, services)) = services() else { return };
    let folder = services.guard.as_ref().unwrap().folder().to_path_buf();
    assert!(folder.join("postgres.pid").exists() && folder.join("redis.pid").exists());
    drop((postgres, redis, services));
    assert!(!folder.exists());
}

#[test]
fn a_guard_ends_what_a_killed_process_left_running() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    let guard = Guard::start(folder).unwrap();
    let mut left =
        std::process::Command::new("sh").args(["-c", "while :; do sleep 1; done"]).arg(&path).spawn().unwrap();
    std::fs::write(path.join("left.pid"), left.id().to_string()).unwrap();
    // Somebody else's by now: it must not be touched.
    std::fs::write(path.join("other.pid"), std::process::id().to_string()).unwrap();
    drop(guard);
    assert!(!left.wait().unwrap().success());
    assert!(!path.exists());
}

#[test]
fn brokers_answer_and_leave_nothing_behind() {
    use super::peers::{PEERS, Running};
    let names = ["TESTMESH_TEST_MQTT", "TESTMESH_TEST_NATS", "TESTMESH_TEST_AMQP"];
    let wanted: Vec<_> = PEERS.iter().filter(|peer| names.contains(&peer.variable)).collect();
    let running =
        Running::start(&wanted, Missing::Skip, std::path::Path::new("/nonexistent"), &mut Vec::new()).unwrap();
    for reason in &running.missing {
        eprintln!("skipped: {reason}");
    }
    let ports: Vec<u16> =
        running.servers.iter().map(|(_, url)| url.rsplit(':').next().unwrap().parse().unwrap()).collect();
    assert!(ports.iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok()), "{ports:?}");
    drop(running);
    assert!(ports.iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_err()), "{ports:?}");
}
