//! Schemathesis, a fuzzer that reads the OpenAPI document, against a fresh server: every answer must be one that the
//! document names, none may be a 500, and the server must still run afterwards.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::Server;
use super::{Outcome, Setting};
use crate::workspace::Failure;

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Stored before the fuzzer starts, so that it finds more than empty lists.
const FLOW: &str =
    "name: seeded\ntags: [seed]\nsuite: seeds\nsteps:\n  - id: hello\n    action: log\n    config: {message: hello}\n";

/// Every route has been tried by then; what is left of it goes to chains of requests.
const MAX_SECONDS: &str = "240";

/// How the fuzzer generates and judges, beside the API whose document it reads.
const CONFIG: &str = "crates/testmesh-api/schemathesis.toml";

pub(super) fn run(setting: &Setting<'_>, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let fuzzer = match install(setting, out)? {
        Ok(fuzzer) => fuzzer,
        Err(reason) => return Ok(Outcome::Failed(reason)),
    };
    let mut server = Server::start_with_token(setting)?;
    seed(&server)?;
    let status = command(setting, &fuzzer, &server).current_dir(server.folder()).status()?;
    if !server.is_running() {
        return Ok(Outcome::Failed(format!("the server died:\n{}", server.log())));
    }
    if !status.success() {
        return Ok(Outcome::Failed("schemathesis found something, see above".to_owned()));
    }
    Ok(Outcome::Passed("schemathesis found nothing".to_owned()))
}

fn command(setting: &Setting<'_>, fuzzer: &Path, server: &Server) -> Command {
    let mut command = Command::new(fuzzer);
    command
        .arg("--config-file")
        .arg(setting.root.join(CONFIG))
        .arg("run")
        .arg(format!("http://{}/api/openapi.json", server.authority))
        .args(["--generation-database", "none", "--max-failures", "20", "--max-time", MAX_SECONDS, "--no-color"]);
    if let Some(token) = &server.token {
        command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    }
    command
}

/// Puts a flow, an environment and a finished execution there.
fn seed(server: &Server) -> Result<(), Failure> {
    let expect = |answer: String, status: &str| -> Result<(), Failure> {
        if answer.starts_with(&format!("HTTP/1.1 {status}")) { Ok(()) } else { Err(format!("seed: {answer}").into()) }
    };
    expect(server.request("POST", "/api/v1/flows", "application/yaml", FLOW)?, "201")?;
    let environment = r#"{"name":"seeded","variables":{"host":"localhost"}}"#;
    expect(server.request("POST", "/api/v1/environments", "application/json", environment)?, "201")?;
    let run = serde_json::json!({ "yaml": FLOW }).to_string();
    expect(server.request("POST", "/api/v1/executions?wait=10s", "application/json", &run)?, "200")
}

/// Installs the fuzzer below the target folder, once. The inner error says what is missing.
fn install(setting: &Setting<'_>, out: &mut dyn Write) -> Result<Result<PathBuf, String>, Failure> {
    let folder = setting.target.join("schemathesis");
    let fuzzer = folder.join("bin/schemathesis");
    let stamp = folder.join(SCHEMATHESIS);
    if stamp.exists() && fuzzer.exists() {
        return Ok(Ok(fuzzer));
    }
    writeln!(out, "installing {SCHEMATHESIS} into {}", folder.display())?;
    if !make_environment(&folder)? {
        return Ok(Err("Python 3 with venv is missing: `apt-get install python3-venv`".to_owned()));
    }
    let pip = folder.join("bin/pip");
    let installed =
        Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", SCHEMATHESIS]).status()?;
    if !installed.success() {
        return Ok(Err(format!("`pip install {SCHEMATHESIS}` failed: is PyPI reachable?")));
    }
    std::fs::write(stamp, "")?;
    Ok(Ok(fuzzer))
}

/// Makes a Python environment; installs what Debian leaves out of Python when that is allowed.
fn make_environment(folder: &Path) -> Result<bool, Failure> {
    let make = || Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder).output();
    if make().is_ok_and(|output| output.status.success()) {
        return Ok(true);
    }
    // Succeeds as root on Debian and its kin, which is how a build machine runs it.
    let update = Command::new("apt-get").args(["update", "-qq"]).status();
    let install = Command::new("apt-get").args(["install", "-qq", "-y", "python3-venv"]).status();
    if !matches!((update, install), (Ok(_), Ok(status)) if status.success()) {
        return Ok(false);
    }
    Ok(make()?.status.success())
}
