//! The other servers that flows are tested against: each a row of a table, started like the rest, and only for tests.

mod brokers;
mod kafka;
mod registry;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::guard::Guard;
use super::process::Process;
use super::programs::{self, Missing};
use super::{on_port, text};
use crate::workspace::Failure;

/// How long one answer may take before a server counts as not ready.
const ANSWER: Duration = Duration::from_secs(2);

/// A kind of server.
pub(crate) struct Peer {
    /// For people.
    pub(crate) name: &'static str,
    /// The variable that tells the tests where it is.
    pub(crate) variable: &'static str,
    /// Debian's packages.
    packages: &'static [&'static str],
    /// What is looked for; the first is the server, or runs it.
    programs: &'static [&'static str],
    /// Makes what it needs.
    prepare: fn(&Place) -> Result<(), Failure>,
    /// The command that runs it on a port.
    command: fn(&Place, u16) -> Result<Command, Failure>,
    ready: fn(u16) -> Result<bool, Failure>,
    /// What the variable says.
    url: fn(&Place, u16) -> Result<String, Failure>,
}

/// Where a server is at home.
pub(super) struct Place {
    pub(super) program: PathBuf,
    /// Its own, empty at first.
    pub(super) folder: PathBuf,
    /// Kept from run to run, for what is not in the distribution.
    pub(super) cache: PathBuf,
}

impl Peer {
    fn is_there(&self) -> bool {
        self.programs.iter().all(|program| programs::find(program).is_some())
    }
}

/// Every kind.
pub(crate) static PEERS: &[Peer] = &[
    Peer {
        name: "MariaDB",
        variable: "TESTMESH_TEST_MYSQL",
        packages: &["mariadb-server"],
        programs: &["mariadbd"],
        prepare: prepare_mariadb,
        command: mariadb,
        ready: greets,
        url: |_, port| Ok(format!("mysql://testmesh:secret@127.0.0.1:{port}/test")),
    },
    Peer {
        name: "Kafka",
        variable: "TESTMESH_TEST_KAFKA",
        packages: &["default-jre-headless", "maven"],
        programs: &["java", "mvn"],
        prepare: kafka::prepare,
        command: kafka::command,
        ready: kafka::answers,
        url: kafka::addresses,
    },
    Peer {
        name: "Schema-Registry",
        variable: "TESTMESH_TEST_REGISTRY",
        packages: &["default-jre-headless", "maven"],
        programs: &["java", "mvn", "tar"],
        prepare: registry::prepare,
        command: |place, port| Ok(registry::command(place, port)),
        ready: registry::answers,
        url: |_, port| Ok(registry::url(port)),
    },
    Peer {
        name: "Mosquitto",
        variable: "TESTMESH_TEST_MQTT",
        packages: &["mosquitto"],
        programs: &["mosquitto", "mosquitto_passwd"],
        prepare: brokers::prepare_mosquitto,
        command: brokers::mosquitto,
        ready: brokers::mosquitto_answers,
        url: |_, port| Ok(brokers::url("mqtt", port)),
    },
    Peer {
        name: "NATS",
        variable: "TESTMESH_TEST_NATS",
        packages: &["nats-server"],
        programs: &["nats-server"],
        prepare: |_| Ok(()),
        command: brokers::nats,
        ready: brokers::nats_answers,
        url: |_, port| Ok(brokers::url("nats", port)),
    },
    Peer {
        name: "RabbitMQ",
        variable: "TESTMESH_TEST_AMQP",
        packages: &["rabbitmq-server"],
        programs: &["rabbitmq-server", "setpriv"],
        prepare: |_| Ok(()),
        command: brokers::rabbitmq,
        ready: brokers::rabbitmq_answers,
        url: |_, port| Ok(brokers::url("amqp", port)),
    },
];

/// Running servers, and why others are not there.
pub(crate) struct Running {
    /// Each with its URL.
    pub(crate) servers: Vec<(&'static Peer, String)>,
    /// What was not to be had, and how to get it.
    pub(crate) missing: Vec<String>,
    /// Ended before the guard removes their folder.
    _processes: Vec<Process>,
    _guard: Option<Guard>,
}

impl Running {
    /// Starts `wanted`, installing what is missing where it may, and waits until each answers. What is fetched is kept in
    /// `cache`.
    pub(crate) fn start(
        wanted: &[&'static Peer],
        missing: Missing,
        cache: &Path,
        out: &mut dyn Write,
    ) -> Result<Self, Failure> {
        Self::start_at(wanted, None, (missing, cache), out)
    }

    /// As [`Self::start`], with the first of them on `port`.
    pub(crate) fn start_at(
        wanted: &[&'static Peer],
        mut port: Option<u16>,
        (missing, cache): (Missing, &Path),
        out: &mut dyn Write,
    ) -> Result<Self, Failure> {
        let (mut servers, mut not_there, mut processes) = (Vec::new(), Vec::new(), Vec::new());
        let absent = wanted.iter().filter(|peer| !peer.is_there());
        let packages: Vec<&str> = absent.flat_map(|peer| peer.packages.iter().copied()).collect();
        let trouble = match missing {
            Missing::Install if !packages.is_empty() => programs::install(&packages, out)?,
            Missing::Install | Missing::Skip => None,
        };
        let (there, absent): (Vec<&'static Peer>, Vec<_>) = wanted.iter().partition(|peer| peer.is_there());
        for peer in absent {
            let reason = trouble.as_deref().unwrap_or("it is not installed");
            not_there.push(format!("{}: {reason}; on Debian: `{}`", peer.name, programs::by_hand(peer.packages)));
        }
        if there.is_empty() {
            return Ok(Self { servers, missing: not_there, _processes: processes, _guard: None });
        }
        let folder = tempfile::Builder::new().prefix("testmesh-peers-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let guard = Guard::start(folder)?;
        for peer in there {
            let (process, url) = start(peer, port.take(), guard.folder(), cache)?;
            servers.push((peer, url));
            processes.push(process);
        }
        Ok(Self { servers, missing: not_there, _processes: processes, _guard: Some(guard) })
    }
}

fn start(peer: &Peer, port: Option<u16>, folder: &Path, cache: &Path) -> Result<(Process, String), Failure> {
    let program = programs::find(peer.programs[0]).ok_or("a program went away")?;
    let name = peer.name.to_lowercase();
    let place = Place { program, folder: folder.join(&name), cache: cache.to_path_buf() };
    fs::create_dir(&place.folder)?;
    (peer.prepare)(&place)?;
    on_port(port, |port| {
        let mut process = Process::start((peer.command)(&place, port)?, folder, &name)?;
        process
            .wait_until(|| (peer.ready)(port).unwrap_or(false))
            .map_err(|error| format!("the {} server is not ready: {error}", peer.name))?;
        Ok((process, (peer.url)(&place, port)?))
    })
}

fn prepare_mariadb(place: &Place) -> Result<(), Failure> {
    let folder = &place.folder;
    let installer = ["mariadb-install-db", "mysql_install_db"].into_iter().find_map(programs::find);
    let installer =
        installer.ok_or_else(|| format!("there is no mariadb-install-db beside `{}`", place.program.display()))?;
    let mut install = Command::new(installer);
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    install.arg(format!("--datadir={}", text(&folder.join("data"))?)).arg(format!("--user={}", user()));
    let made = install.output().map_err(|error| format!("start mariadb-install-db: {error}"))?;
    if !made.status.success() {
        return Err(format!("mariadb-install-db failed: {}", String::from_utf8_lossy(&made.stderr)).into());
    }
    let setup = "create database test;\ncreate user testmesh@'%' identified by 'secret';\ngrant all on *.* to testmesh@'%';\n\
                 delete from mysql.global_priv where user = '';\nflush privileges;\n";
    Ok(fs::write(folder.join("setup.sql"), setup)?)
}

fn mariadb(place: &Place, port: u16) -> Result<Command, Failure> {
    let folder = &place.folder;
    let mut command = Command::new(&place.program);
    command.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=2"]);
    command.arg(format!("--datadir={}", text(&folder.join("data"))?)).arg(format!("--user={}", user()));
    command.arg(format!("--socket={}", text(&folder.join("socket"))?)).arg(format!("--port={port}"));
    command.arg(format!("--init-file={}", text(&folder.join("setup.sql"))?));
    command.arg(format!("--pid-file={}", text(&folder.join("pid"))?));
    Ok(command)
}

/// Whom a server runs as that wants to be told: this process's own user.
fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten().map_or_else(String::new, |user| user.name)
}

/// MySQL's server speaks first: a packet of protocol version 10.
fn greets(port: u16) -> Result<bool, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut hello = [0; 5];
    stream.read_exact(&mut hello)?;
    Ok(hello[4] == 10)
}
