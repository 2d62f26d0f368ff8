//! `cargo xtask reference`: the book's pages about actions and settings, made from what the programs say of themselves.
//! The tests fail when the pages in the book are others.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Setting;
use super::databases::Databases;
use crate::workspace::{self, Failure};

const FOLDER: &str = "docs/src/reference";
const SUMMARY: &str = "docs/src/SUMMARY.md";

const SETTINGS: &str = "# Settings

Written by `cargo xtask reference` from the server's own description; `testmesh-server --help` says the same, and
`testmesh-server config` prints what is in force and where it came from. The first column is the name in the settings
file. [Operations](../operations.md#settings) says how the places go together.
";

/// A page: where it lies, and its text.
type Page = (PathBuf, String);

/// Writes the pages as the command line prints them.
pub(crate) fn write(root: &Path, out: &mut dyn Write) -> Result<bool, Failure> {
    let setting = Setting { root, target: workspace::target(root)?, databases: Databases::default() };
    workspace::build(root)?;
    fs::create_dir_all(root.join(FOLDER))?;
    let pages = pages(&setting)?;
    for path in workspace::files(&root.join(FOLDER), "md")? {
        if pages.iter().all(|(page, _)| *page != path) {
            fs::remove_file(path)?;
        }
    }
    for (path, text) in &pages {
        fs::write(path, text)?;
    }
    writeln!(out, "wrote {} pages to {FOLDER}", pages.len())?;
    Ok(true)
}

/// What is wrong with the pages in the book; nothing when they are as printed and all in the table of contents.
pub(super) fn stale(setting: &Setting<'_>) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for (path, text) in pages(setting)? {
        let name = path.strip_prefix(setting.root).unwrap_or(&path).display().to_string();
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            found.push(format!("{name}: not what the programs say; `cargo xtask reference` writes it"));
        }
    }
    let summary = workspace::read(&setting.root.join(SUMMARY))?;
    let book = setting.root.join("docs/src");
    for path in workspace::files(&book, "md")? {
        let name = path.strip_prefix(&book).unwrap_or(&path).display().to_string();
        if name != "SUMMARY.md" && !summary.contains(&format!("({name})")) {
            found.push(format!("docs/src/{name}: not in {SUMMARY}"));
        }
    }
    Ok(found)
}

fn pages(setting: &Setting<'_>) -> Result<Vec<Page>, Failure> {
    let list = print(setting, &["actions"])?;
    let folder = setting.root.join(FOLDER);
    let mut index = "# Actions\n\nWritten by `cargo xtask reference` from the actions' own descriptions; `testmesh actions NAME` prints a page.\n\n\
                     | action | |\n|---|---|\n"
        .to_owned();
    let mut pages = Vec::new();
    for line in list.lines().take_while(|line| !line.is_empty()) {
        let (name, summary) = line.split_once(' ').ok_or_else(|| format!("cannot read `{line}`"))?;
        writeln!(index, "| [`{name}`]({name}.md) | {} |", summary.trim())?;
        pages.push((folder.join(format!("{name}.md")), print(setting, &["actions", name])?));
    }
    pages.push((folder.join("index.md"), index));
    pages.push((folder.join("settings.md"), settings(setting)?));
    Ok(pages)
}

/// The page about the server's settings.
fn settings(setting: &Setting<'_>) -> Result<String, Failure> {
    // Without the environment: what is set here is not what the page is about.
    let output =
        Command::new(setting.program("testmesh-server")).args(["config", "--format", "json"]).env_clear().output()?;
    if !output.status.success() {
        return Err(format!("`testmesh-server config` ended with {}", output.status).into());
    }
    let settings: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let mut page = SETTINGS.to_owned();
    let mut group = "";
    for setting in &settings {
        let of = |field: &str| setting[field].as_str().unwrap_or_default();
        if of("group") != group {
            group = of("group");
            write!(page, "\n## {group}\n\n| setting | flag | variable | default | |\n|---|---|---|---|---|\n")?;
        }
        let variable = match setting["file_variable"].as_str() {
            Some(file) => format!("`{}`, `{file}`", of("variable")),
            None => format!("`{}`", of("variable")),
        };
        let default = setting["default"].as_str().map(|default| format!("`{default}`")).unwrap_or_default();
        let description = of("description").replace('|', "\\|");
        let (name, flag, value_name) = (of("name"), of("flag"), of("value_name"));
        writeln!(page, "| `{name}` | `{flag} {value_name}` | {variable} | {default} | {description} |")?;
    }
    Ok(page)
}

fn print(setting: &Setting<'_>, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(setting.program("testmesh")).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("`testmesh {}` ended with {}", arguments.join(" "), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
