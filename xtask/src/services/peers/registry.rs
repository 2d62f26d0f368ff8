//! A schema registry: Apicurio's, from Maven Central, on the machine's Java, with what it knows in its memory.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use super::{ANSWER, Place};
use crate::services::programs;
use crate::services::text;
use crate::workspace::Failure;

/// The last that runs on Java 17, which older distributions have; later ones need Java 21.
const VERSION: &str = "3.0.9";
/// Where it is compatible with Confluent's.
const API: &str = "apis/ccompat/v7";

/// Fetches the registry, once.
pub(super) fn prepare(place: &Place) -> Result<(), Failure> {
    let home = home(place);
    if home.is_dir() {
        return Ok(());
    }
    let partial = home.with_extension("partial");
    fs::create_dir_all(&partial)?;
    let mut maven = Command::new(programs::find("mvn").ok_or("there is no mvn")?);
    maven.current_dir(&partial).args(["-q", "-B", "dependency:copy"]);
    maven.arg(format!("-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"));
    run(maven.arg(format!("-DoutputDirectory={}", text(&partial)?)), "mvn cannot fetch the schema registry")?;
    let archive = partial.join(format!("apicurio-registry-app-{VERSION}-all.tar.gz"));
    let mut unpack = Command::new("tar");
    run(unpack.args(["-xzf", text(&archive)?, "-C", text(&partial)?]), "tar cannot unpack the schema registry")?;
    fs::remove_file(archive)?;
    // Whole or not at all.
    Ok(fs::rename(partial, home)?)
}

fn run(command: &mut Command, problem: &str) -> Result<(), Failure> {
    let done = command.output()?;
    if done.status.success() {
        return Ok(());
    }
    let said = [done.stdout, done.stderr].concat();
    Err(format!("{problem} {VERSION}: {}", String::from_utf8_lossy(&said)).into())
}

fn home(place: &Place) -> PathBuf {
    place.cache.join(format!("apicurio-{VERSION}"))
}

pub(super) fn command(place: &Place, port: u16) -> Command {
    let mut server = Command::new(&place.program);
    server.current_dir(&place.folder).args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    server.args(["-Dquarkus.http.host=127.0.0.1", "-Dquarkus.http.access-log.enabled=false"]);
    server.arg(format!("-Dquarkus.http.port={port}"));
    server.arg("-jar").arg(home(place).join(format!("apicurio-registry-app-{VERSION}-runner.jar")));
    server
}

/// Asks for all subjects.
pub(super) fn answers(port: u16) -> Result<bool, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET /{API}/subjects HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

pub(super) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/{API}")
}
