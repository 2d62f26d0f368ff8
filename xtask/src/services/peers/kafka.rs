//! Kafka: one broker that is its own controller, from the artifacts of Maven Central, on the machine's Java.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ANSWER, Place};
use crate::services::programs;
use crate::services::text;
use crate::workspace::Failure;

/// Runs on Java 11 and newer, and speaks all that clients of 2.3 to 4.x say.
const VERSION: &str = "3.9.1";
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qk";

/// Fetches the broker's libraries, once.
pub(super) fn prepare(place: &Place) -> Result<(), Failure> {
    let libraries = libraries(place);
    if libraries.is_dir() {
        return Ok(());
    }
    let project = libraries.with_file_name("project");
    fs::create_dir_all(&project)?;
    let pom = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>testmesh</groupId><artifactId>kafka</artifactId>\
         <version>1</version><dependencies><dependency><groupId>org.apache.kafka</groupId>\
         <artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency></dependencies></project>"
    );
    fs::write(project.join("pom.xml"), pom)?;
    let partial = libraries.with_extension("partial");
    let mut maven = Command::new(programs::find("mvn").ok_or("there is no mvn")?);
    maven.current_dir(&project).args(["-q", "-B", "dependency:copy-dependencies"]);
    maven.arg(format!("-DoutputDirectory={}", text(&partial)?));
    let fetched = maven.output()?;
    if !fetched.status.success() {
        let said = [fetched.stdout, fetched.stderr].concat();
        return Err(format!("mvn cannot fetch Kafka {VERSION}: {}", String::from_utf8_lossy(&said)).into());
    }
    // Whole or not at all.
    Ok(fs::rename(partial, libraries)?)
}

fn libraries(place: &Place) -> PathBuf {
    place.cache.join(format!("kafka-{VERSION}")).join("libraries")
}

/// Runs the broker: open to all on `port`, with SASL on another.
pub(super) fn command(place: &Place, port: u16) -> Result<Command, Failure> {
    let data = place.folder.join(format!("data-{port}"));
    let settings = place.folder.join("server.properties");
    let (controller, sasl) = (free_port()?, free_port()?);
    fs::write(place.folder.join("sasl-port"), sasl.to_string())?;
    fs::write(&settings, properties(&data, port, controller, sasl)?)?;
    let mut format = java(place)?;
    format.args(["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER, "-c", text(&settings)?]);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        format.args(["--add-scram", &format!("{mechanism}=[name=scram,password=secret]")]);
    }
    let formatted = format.output()?;
    if !formatted.status.success() {
        let said = [formatted.stdout, formatted.stderr].concat();
        return Err(format!("Kafka's storage cannot be made: {}", String::from_utf8_lossy(&said)).into());
    }
    let mut server = java(place)?;
    server.args(["kafka.Kafka", text(&settings)?]);
    Ok(server)
}

fn java(place: &Place) -> Result<Command, Failure> {
    let mut java = Command::new(&place.program);
    java.current_dir(&place.folder).args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    java.arg(format!("{}/*", text(&libraries(place))?));
    Ok(java)
}

fn properties(data: &Path, port: u16, controller: u16, sasl: u16) -> Result<String, Failure> {
    let module = "org.apache.kafka.common.security";
    Ok(format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.sasl.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_plain=\"secret\";\n\
         listener.name.sasl.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
         listener.name.sasl.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\nnum.partitions=3\nlog.dirs={}\n",
        text(data)?
    ))
}

pub(super) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Asks which versions it speaks (`ApiVersions`, version 0), and waits for an answer without an error.
pub(super) fn answers(port: u16) -> Result<bool, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff])?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    Ok(answer[4..8] == [0, 0, 0, 7] && answer[8..10] == [0, 0])
}

/// `host:port` of the open listener, then of the one with SASL.
pub(super) fn addresses(place: &Place, port: u16) -> Result<String, Failure> {
    let sasl = fs::read_to_string(place.folder.join("sasl-port"))?;
    Ok(format!("127.0.0.1:{port} 127.0.0.1:{sasl}"))
}
