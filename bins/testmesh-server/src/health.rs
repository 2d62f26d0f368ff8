//! `testmesh-server health`: asks a running server whether it is well, for containers that have no other program.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use clap::Args;
use url::Url;

use crate::Failure;
use crate::settings::FileSettings;

/// The most of an answer that is read; a server names each of its parts in a line.
const MAX_ANSWER: u64 = 64 * 1024;

/// Whom to ask, and what.
#[derive(Debug, Args)]
pub(crate) struct HealthSettings {
    #[command(flatten)]
    file: FileSettings,

    /// Where the server listens: the same setting as its own. An address that stands for all is asked on loopback.
    #[arg(long, env = "TESTMESH_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:5016")]
    listen: SocketAddr,

    /// Ask at this URL (http) in place of /readyz on --listen.
    #[arg(long, value_name = "URL", conflicts_with = "live")]
    url: Option<Url>,

    /// Ask at /livez, whether the process lives, in place of /readyz, whether it can serve.
    #[arg(long)]
    live: bool,

    /// Seconds until the answer must be there.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

/// Asks, and prints the answer. Anything but 200 is a failure.
pub(crate) fn ask(settings: &HealthSettings) -> Result<(), Failure> {
    let url = match &settings.url {
        Some(url) => url.clone(),
        None => own_url(settings.listen, settings.live)?,
    };
    let host = url.host_str().unwrap_or_default();
    if url.scheme() != "http" || host.is_empty() {
        return Err(Failure::Setting(format!("--url: `{url}` is no URL such as `http://testmesh:5016/readyz`")));
    }
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot ask `{url}`: {error}"));
    let answer = get(&url, Duration::from_secs(settings.timeout)).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(Failure::Failed(format!("`{url}` answered `{status}`: {}", body.trim())));
    }
    writeln!(std::io::stdout(), "{}", body.trim())
        .map_err(|error| Failure::Failed(format!("cannot write to stdout: {error}")))
}

/// The URL on a server's own address.
fn own_url(listen: SocketAddr, live: bool) -> Result<Url, Failure> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let path = if live { "livez" } else { "readyz" };
    let url = format!("http://{}/{path}", SocketAddr::new(ip, listen.port()));
    Url::parse(&url).map_err(|error| Failure::Setting(format!("--listen: `{listen}`: {error}")))
}

/// The whole answer to one request, within `patience`. The time that the host's name takes is the resolver's.
fn get(url: &Url, patience: Duration) -> std::io::Result<String> {
    let deadline = Instant::now() + patience;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(std::io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    };
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let mut trouble = std::io::Error::other("the name has no address");
    for address in (host.trim_start_matches('[').trim_end_matches(']'), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left()?) {
            Ok(stream) => return converse(stream, url, left),
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

fn converse(mut stream: TcpStream, url: &Url, left: impl Fn() -> std::io::Result<Duration>) -> std::io::Result<String> {
    stream.set_write_timeout(Some(left()?))?;
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    // HTTP/1.0: the answer ends with the connection, and is not chunked.
    let request = format!("GET {path} HTTP/1.0\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    let mut room = MAX_ANSWER;
    while room > 0 {
        stream.set_read_timeout(Some(left()?))?;
        let n_read = (&mut stream).take(room).read(&mut chunk)?;
        if n_read == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..n_read]);
        room -= n_read as u64;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_asked_on_loopback() {
        let check = |listen: &str, live: bool, url: &str| {
            assert_eq!(own_url(listen.parse().unwrap(), live).unwrap().as_str(), url);
        };
        check("0.0.0.0:5016", false, "http://127.0.0.1:5016/readyz");
        check("[::]:80", true, "http://[::1]/livez");
        check("10.0.0.7:1", true, "http://10.0.0.7:1/livez");
    }

    #[test]
    fn a_server_that_never_ends_its_answer_does_not_hold_the_question() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/readyz", listener.local_addr().unwrap())).unwrap();
        let error = get(&url, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock), "{error}");
        drop(listener);
    }
}
