//! The message brokers of the distribution: NATS, Mosquitto, RabbitMQ. Each has the user `testmesh` with the password
//! `secret`, who may do everything, and `limited`, who may only touch what is called `allowed…`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use super::{ANSWER, Place, user};
use crate::services::{programs, text};
use crate::workspace::Failure;

const USERS: [&str; 2] = ["testmesh", "limited"];
const PASSWORD: &str = "secret";

pub(super) fn nats(place: &Place, port: u16) -> Result<Command, Failure> {
    let settings = place.folder.join("nats.conf");
    let [all, limited] = USERS;
    let allowed = "{publish: \"allowed.>\", subscribe: [\"allowed.>\", \"_INBOX.>\"]}";
    fs::write(
        &settings,
        format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: 65536\nauthorization {{\n  users = [\n    \
             {{user: {all}, password: {PASSWORD}}},\n    {{user: {limited}, password: {PASSWORD}, permissions: {allowed}}}\n  ]\n}}\n"
        ),
    )?;
    let mut command = Command::new(&place.program);
    command.arg("-c").arg(settings);
    Ok(command)
}

/// It speaks first.
pub(super) fn nats_answers(port: u16) -> Result<bool, Failure> {
    let mut hello = [0; 5];
    greeted(port, &[], &mut hello)?;
    Ok(&hello == b"INFO ")
}

pub(super) fn prepare_mosquitto(place: &Place) -> Result<(), Failure> {
    let passwords = place.folder.join("passwords");
    fs::write(&passwords, "")?;
    let tool = programs::find("mosquitto_passwd").ok_or("there is no mosquitto_passwd")?;
    for name in USERS {
        let made = Command::new(&tool).arg("-b").arg(&passwords).args([name, PASSWORD]).output()?;
        if !made.status.success() {
            return Err(format!("mosquitto_passwd failed: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
    }
    let [all, limited] = USERS;
    let access = format!("user {all}\ntopic readwrite #\n\nuser {limited}\ntopic readwrite allowed/#\n");
    Ok(fs::write(place.folder.join("access"), access)?)
}

pub(super) fn mosquitto(place: &Place, port: u16) -> Result<Command, Failure> {
    let path = |name: &str| Ok::<_, Failure>(text(&place.folder.join(name))?.to_owned());
    let settings = place.folder.join("mosquitto.conf");
    fs::write(
        &settings,
        format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\nacl_file {}\nuser {}\n",
            path("passwords")?,
            path("access")?,
            user()
        ),
    )?;
    let mut command = Command::new(&place.program);
    command.arg("-c").arg(settings);
    Ok(command)
}

/// Refuses, or accepts, somebody whose name is `ready`.
pub(super) fn mosquitto_answers(port: u16) -> Result<bool, Failure> {
    let connect = b"\x10\x11\0\x04MQTT\x04\x02\0\x3c\0\x05ready";
    let mut answer = [0; 1];
    greeted(port, connect, &mut answer)?;
    Ok(answer == [0x20])
}

fn greeted(port: u16, hello: &[u8], answer: &mut [u8]) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(hello)?;
    Ok(stream.read_exact(answer)?)
}

/// `scheme://user:password@host:port` of the one who may do everything.
pub(super) fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://{}:{PASSWORD}@127.0.0.1:{port}", USERS[0])
}

/// Where Debian keeps the script that its own, which changes the user, calls.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

pub(super) fn rabbitmq(place: &Place, port: u16) -> Result<Command, Failure> {
    let folder = &place.folder;
    let path = |name: &str| folder.join(name);
    let settings = path("rabbitmq.conf");
    fs::write(
        &settings,
        format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\ndefault_user = {}\ndefault_pass = {PASSWORD}\nloopback_users = none\n\
             log.console = true\nlog.file = false\n",
            USERS[0]
        ),
    )?;
    fs::write(path("plugins"), "[].\n")?;
    let epmd = super::kafka::free_port()?;
    let distribution = super::kafka::free_port()?;
    let script = Path::new(RABBITMQ);
    let script = if script.exists() { script } else { &place.program };
    let mut command = Command::new("sh");
    // Erlang's name server would outlive the broker: here it ends with it.
    command.args(["-c", "setpriv --pdeathsig KILL epmd -port \"$ERL_EPMD_PORT\" & exec \"$0\"", text(script)?]);
    command.env("HOME", folder).env("ERL_EPMD_PORT", epmd.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
    command
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_NODENAME", format!("testmesh{port}@localhost"));
    command.env("RABBITMQ_CONFIG_FILE", settings).env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"));
    command.env("RABBITMQ_MNESIA_BASE", path("data")).env("RABBITMQ_LOG_BASE", path("log"));
    // One process, which is the broker: not a script that waits for it.
    command.env("RABBITMQ_ALLOW_INPUT", "1");
    command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", format!("-noinput -testmesh {}", text(folder)?));
    Ok(command)
}

/// Answers the protocol's header with its first method.
pub(super) fn rabbitmq_answers(port: u16) -> Result<bool, Failure> {
    let mut answer = [0; 1];
    greeted(port, b"AMQP\0\0\x09\x01", &mut answer)?;
    Ok(answer == [1])
}
