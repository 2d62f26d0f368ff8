//! The flows of the demo shop, run as a reader of the book would: on the command line and on a server.
//!
//! Then the flow files that others wrote for the same shop, where they are at hand: in the folder that `TESTMESH_CORPUS`
//! names, or beside the project. They name ports, so they run in a network of their own where that can be had.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Uid;

use super::databases::named;
use super::{Outcome, Setting};
use crate::demo::{By, Ending, Setup, Stack, Wish, run_flows, taken_port};
use crate::services::find_program;
use crate::workspace::Failure;

/// The folders of those files that are about the shop.
const FOLDERS: &[&str] = &["generated-flows", "demo-services/flows", "examples/microservices", "api/cmd/seed/flows"];

/// One of them expects 404 of a login with an unknown address, where another expects 401; so the shop has a setting.
const UNKNOWN_EMAILS: &str = "examples/microservices/04-user-auth.yaml";

/// One of them orders the text `test-items-…` for a user who does not exist, and expects that to work, against all others.
const WRONG: &str = "examples/microservices/order-service-flow.yaml";

pub(super) fn run(setting: &Setting<'_>, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let setup = Setup { free_ports: true, reveal_unknown_emails: false };
    let stack = Stack::start(&setting.target, setup, out)?;
    let paths = [setting.root.join("examples/shop/flows")];
    let wish = Wish { paths: &paths, except: &[], keep_state: false };
    for by in [By::CommandLine, By::Server] {
        let ending = run_flows(&stack, &setting.target, &wish, by, out)?;
        if ending != Ending::Passed {
            return Ok(Outcome::Failed("the shop's own flows, see above".to_owned()));
        }
    }
    drop(stack);
    let own = "the shop's own flows, on the command line and on a server";
    let Some(corpus) = corpus(setting.root) else {
        return Ok(Outcome::Passed(format!("{own}; left out: the flows of others are not here")));
    };
    let network = match network() {
        Some(network) => network,
        None => match taken_port() {
            None => Vec::new(),
            Some(port) => {
                let reason = format!("they need port {port}, which is taken");
                return Ok(Outcome::Passed(format!("{own}; left out: the flows of others: {reason}")));
            }
        },
    };
    let folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| corpus.join(folder)).filter(|path| path.exists()).collect();
    let except = [corpus.join(UNKNOWN_EMAILS), corpus.join(WRONG)];
    let mut all_held = others(setting, &network, &folders, &except, (&["--both"], out))?;
    if except[0].exists() {
        let arguments = ["--both", "--reveal-unknown-emails"];
        all_held &= others(setting, &network, &except[..1], &[], (&arguments, out))?;
    }
    Ok(if all_held {
        Outcome::Passed(format!("{own}; those of others in {}", corpus.display()))
    } else {
        Outcome::Failed("flows of others, see above".to_owned())
    })
}

/// Where the flows of others are.
fn corpus(root: &Path) -> Option<PathBuf> {
    let folder = named("TESTMESH_CORPUS").map_or_else(|| root.join("../shared/corpus"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// What starts a command in a network that is its own, where root has what it takes.
fn network() -> Option<Vec<String>> {
    if !Uid::effective().is_root() {
        return None;
    }
    let unshare = find_program("unshare")?;
    find_program("ip")?;
    let tried = Command::new(&unshare).args(["--net", "ip", "link", "set", "lo", "up"]).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let words = ["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];
    Some(std::iter::once(unshare.display().to_string()).chain(words.map(str::to_owned)).collect())
}

/// Runs flows that name ports with `cargo xtask demo`, in `network` if there is one.
fn others(
    setting: &Setting<'_>,
    network: &[String],
    paths: &[PathBuf],
    except: &[PathBuf],
    (arguments, out): (&[&str], &mut dyn Write),
) -> Result<bool, Failure> {
    // Not the file of this process: the build of the whole workspace has put another in its place.
    let this = setting.program("xtask");
    let mut command = match network {
        [] => Command::new(this),
        [program, words @ ..] => {
            let mut command = Command::new(program);
            command.args(words).arg(this);
            command
        }
    };
    command.arg("demo").args(arguments).arg("--flows").args(paths);
    for path in except.iter().filter(|path| path.exists()) {
        command.arg("--except").arg(path);
    }
    let output = command.current_dir(setting.root).output()?;
    out.write_all(&output.stdout)?;
    out.write_all(&output.stderr)?;
    Ok(output.status.success())
}
