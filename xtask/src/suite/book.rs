//! The code blocks of the book and the README, checked as a reader would use them.
//!
//! - ` ```yaml ` is a flow, or a list of steps: it must validate without a finding. `yaml run` must pass as well.
//! - ` ```sh run ` is executed, in a folder of its own for each page, with `testmesh` on the path.
//! - `fragment` after the language says that a block is a part of something.
//!
//! `127.0.0.1:5016` in a block that runs stands for a server that was started for it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use super::server::Server;
use super::{Outcome, Setting, reference};
use crate::workspace::{self, Failure};

const ADDRESS: &str = "127.0.0.1:5016";

/// A block of code of a page.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Its first line in the page, from 1.
    line: usize,
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A flow that validates.
    Flow,
    /// A flow that passes.
    PassingFlow,
    /// Commands that succeed.
    Commands,
}

pub(super) fn run(setting: &Setting<'_>, out: &mut dyn Write) -> Result<Outcome, Failure> {
    let mut pages = workspace::files(&setting.root.join("docs/src"), "md")?;
    pages.push(setting.root.join("README.md"));
    let server = Server::start(setting)?;
    let (mut checked, mut failed) = (0, 0);
    for reason in reference::stale(setting)? {
        failed += 1;
        writeln!(out, "{reason}\n")?;
    }
    for page in pages {
        let text = workspace::read(&page)?;
        let name = page.strip_prefix(setting.root).unwrap_or(&page);
        let folder = server.folder().join("pages").join(name);
        fs::create_dir_all(&folder)?;
        for block in blocks(&text) {
            checked += 1;
            if let Err(reason) = check(setting, &server, &folder, &block) {
                failed += 1;
                writeln!(out, "{}:{}: {reason}\n", name.display(), block.line)?;
            }
        }
    }
    Ok(match failed {
        0 => Outcome::Passed(format!("{checked} code blocks")),
        _ => Outcome::Failed(format!("{failed} findings, {checked} code blocks")),
    })
}

fn check(setting: &Setting<'_>, server: &Server, folder: &Path, block: &Block) -> Result<(), Failure> {
    let text = match block.kind {
        Kind::Flow => block.text.clone(),
        Kind::PassingFlow | Kind::Commands => block.text.replace(ADDRESS, &server.authority),
    };
    match block.kind {
        Kind::Commands => expect_success(&shell(setting, folder, &text)?),
        Kind::Flow | Kind::PassingFlow => {
            let file = folder.join(format!("line-{}.yaml", block.line));
            fs::write(&file, as_flow(&text))?;
            let verb: &[&str] = match block.kind {
                Kind::PassingFlow => &["run", "--strict"],
                Kind::Flow | Kind::Commands => &["validate"],
            };
            let output =
                Command::new(setting.program("testmesh")).args(verb).arg(&file).current_dir(folder).output()?;
            expect_success(&output)
        }
    }
}

fn shell(setting: &Setting<'_>, folder: &Path, text: &str) -> Result<Output, Failure> {
    let programs = setting.target.join("debug");
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&inherited)))?;
    let script = ["-euo", "pipefail", "-c", text];
    Ok(Command::new("bash").args(script).env("PATH", path).current_dir(folder).output()?)
}

fn expect_success(output: &Output) -> Result<(), Failure> {
    if output.status.success() {
        return Ok(());
    }
    let mut message = format!("ended with {}", output.status);
    for stream in [&output.stdout, &output.stderr] {
        write!(message, "\n{}", String::from_utf8_lossy(stream).trim_end())?;
    }
    Err(message.into())
}

/// A list of steps becomes a flow of these steps.
fn as_flow(text: &str) -> String {
    let first = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
    if first.is_some_and(|line| line.starts_with("- ")) {
        format!("name: example\nsteps:\n{text}")
    } else {
        text.to_owned()
    }
}

/// The blocks of a page that can be checked.
fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let mut first = None;
        let mut text = String::new();
        for (index, line) in lines.by_ref() {
            if line.trim() == "```" {
                break;
            }
            first.get_or_insert(index + 1);
            text.push_str(line.get(indent..).unwrap_or_default());
            text.push('\n');
        }
        if let (Some(kind), Some(line)) = (kind(info), first) {
            found.push(Block { line, kind, text });
        }
    }
    found
}

fn kind(info: &str) -> Option<Kind> {
    let mut words = info.split([' ', ',']);
    let language = words.next().unwrap_or_default();
    let marks: Vec<_> = words.collect();
    let runs = marks.contains(&"run");
    match language {
        "yaml" if runs => Some(Kind::PassingFlow),
        "yaml" if !marks.contains(&"fragment") => Some(Kind::Flow),
        "sh" if runs => Some(Kind::Commands),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_their_kind_and_line() {
        let page = "# Title\n\n```yaml\nname: a\n```\n\n- item\n\n  ```sh run\n  echo a\n    echo b\n  ```\n\n```sh\nrm -rf /\n```\n\
                    ```yaml fragment\nenv: x\n```\n```yaml run\nname: b\n```\n```text\nyaml\n```\n";
        let block = |line, kind, text: &str| Block { line, kind, text: text.to_owned() };
        assert_eq!(
            blocks(page),
            [
                block(4, Kind::Flow, "name: a\n"),
                block(10, Kind::Commands, "echo a\n  echo b\n"),
                block(21, Kind::PassingFlow, "name: b\n"),
            ]
        );
    }

    #[test]
    fn steps_alone_become_a_flow() {
        assert_eq!(as_flow("- action: log\n"), "name: example\nsteps:\n- action: log\n");
        assert_eq!(as_flow("# a flow\nname: a\n"), "# a flow\nname: a\n");
    }
}
