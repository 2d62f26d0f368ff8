//! Runs flows against the shop with the product's own programs, one line each.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use super::Ending;
use super::stack::Stack;
use crate::suite::server::Server;
use crate::workspace::Failure;

/// The environment of the started server that has the shop's addresses.
const ENVIRONMENT: &str = "demo";

/// Which flows, and how.
pub(crate) struct Wish<'a> {
    /// Folders and files.
    pub(crate) paths: &'a [PathBuf],
    /// Files of them that are left out.
    pub(crate) except: &'a [PathBuf],
    /// Whether a flow finds what the one before it did.
    pub(crate) keep_state: bool,
}

/// What runs the flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// `testmesh run`.
    CommandLine,
    /// `testmesh run --server`, with a server that is started for it.
    Server,
}

/// Runs the flows one after the other, since they may use the same names; says how the worst of them ended.
pub(crate) fn run(
    stack: &Stack,
    target: &Path,
    wish: &Wish<'_>,
    by: By,
    out: &mut dyn Write,
) -> Result<Ending, Failure> {
    let program = target.join("debug/testmesh");
    let files = match files(&program, wish)? {
        Ok(files) => files,
        Err(reason) => {
            writeln!(out, "{reason}")?;
            return Ok(Ending::WrongInput);
        }
    };
    let server = match by {
        By::CommandLine => None,
        By::Server => Some(serve(stack, target)?),
    };
    let title = match &server {
        None => "on the command line".to_owned(),
        Some(server) => format!("on the server http://{}", server.authority),
    };
    writeln!(out, "\n{title}")?;
    let started = Instant::now();
    let mut counts = [0_usize; 4];
    let mut worst = Ending::Passed;
    for file in &files {
        if !wish.keep_state {
            stack.reset()?;
        }
        let mut testmesh = Command::new(&program);
        testmesh.arg("run").arg(file).args(["--parallel", "1", "--color", "never"]);
        testmesh.env_remove("TESTMESH_SERVER").env_remove("TESTMESH_TOKEN");
        match &server {
            Some(server) => {
                testmesh.args(["--server", &format!("http://{}", server.authority), "--environment", ENVIRONMENT]);
            }
            None => {
                testmesh.envs(stack.variables.iter().map(|(name, value)| (name, value)));
            }
        }
        let output = testmesh.output()?;
        let ending = Ending::of(output.status.code());
        counts[ending as usize] += 1;
        worst = worst.max(ending);
        write!(out, "{}", shown(&output, ending, file))?;
        out.flush()?;
    }
    let words = [Ending::Passed, Ending::Failed, Ending::WrongInput, Ending::NotRun];
    let parts = words.iter().zip(counts).filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}"));
    let parts: Vec<String> = parts.collect();
    writeln!(out, "{} files {title}: {} · {:.1} s", files.len(), parts.join(", "), started.elapsed().as_secs_f64())?;
    Ok(worst)
}

/// The lines of a run: its title when it passed, all that helps otherwise.
fn shown(output: &Output, ending: Ending, file: &str) -> String {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let titles = || text.lines().filter(|line| line.starts_with(['✓', '✗', '■']));
    if ending == Ending::Passed {
        return titles().flat_map(|title| [title, "  ", file, "\n"]).collect();
    }
    let mark = if titles().next().is_some() { String::new() } else { format!("✗ {ending}\n") };
    let (text, errors) = (text.trim_end(), errors.trim_end());
    let gap = if text.is_empty() || errors.is_empty() { "" } else { "\n" };
    format!("{mark}{text}{gap}{errors}\n  {file}\n")
}

/// The flow files that are meant, as `testmesh` finds them. The inner error says what is wrong with the paths.
fn files(program: &Path, wish: &Wish<'_>) -> Result<Result<Vec<String>, String>, Failure> {
    let output = Command::new(program).arg("validate").args(wish.paths).args(["--format", "json"]).output()?;
    let Ok(found) = serde_json::from_slice::<Vec<serde_json::Value>>(&output.stdout) else {
        return Ok(Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
    };
    let files: Vec<String> = found.iter().filter_map(|entry| entry["file"].as_str()).map(str::to_owned).collect();
    let mut left = Vec::new();
    for except in wish.except {
        let path = except.canonicalize().map_err(|error| format!("`{}`: {error}", except.display()))?;
        left.push(path);
    }
    let is_left = |file: &str| Path::new(file).canonicalize().is_ok_and(|path| left.contains(&path));
    Ok(Ok(files.into_iter().filter(|file| !is_left(file)).collect()))
}

/// Starts a server and gives it the shop's addresses, as an environment. It reaches the shop by its default settings: flows
/// on a server may connect to this machine, only not to the server itself; and it reads no file, since `testmesh run` reads
/// a flow's `env_file` where the flow is.
fn serve(stack: &Stack, target: &Path) -> Result<Server, Failure> {
    let server = Server::start_program(target.join("debug/testmesh-server").as_ref() as &OsStr)?;
    let variables: serde_json::Map<String, serde_json::Value> =
        stack.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    let body = serde_json::json!({"name": ENVIRONMENT, "variables": variables}).to_string();
    let answer = server.request("POST", "/api/v1/environments", "application/json", &body)?;
    if answer.starts_with("HTTP/1.1 201") { Ok(server) } else { Err(format!("make an environment: {answer}").into()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn output(text: &str, errors: &str) -> Output {
        Output { status: ExitStatus::from_raw(0), stdout: text.into(), stderr: errors.into() }
    }

    #[test]
    fn a_flow_that_passed_is_one_line_and_another_says_why() {
        let passed = output("✓ buy (3 steps, 10 ms)\n  ✓ pay  4 ms\n\n1 flow: 1 passed\n", "");
        assert_eq!(shown(&passed, Ending::Passed, "buy.yaml"), "✓ buy (3 steps, 10 ms)  buy.yaml\n");
        let failed = output("✗ buy (3 steps, 10 ms)\n  ✗ pay  4 ms\n      status == 200\n", "");
        let text = shown(&failed, Ending::Failed, "buy.yaml");
        assert!(text.contains("status == 200") && text.ends_with("  buy.yaml\n"), "{text}");
        let wrong = shown(&output("", "error: no file\n"), Ending::WrongInput, "buy.yaml");
        assert_eq!(wrong, "✗ cannot be read\nerror: no file\n  buy.yaml\n");
    }
}
