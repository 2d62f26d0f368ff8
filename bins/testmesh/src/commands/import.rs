//! `testmesh import`: flows from OpenAPI descriptions, Postman collections, HTTP Archives and curl commands.

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use testmesh_runner::flow::parse_variables;

use crate::args::{ImportArgs, ImportSource};
use crate::console::Screen;
use crate::exit::{Exit, Stop};
use crate::import::{Draft, GroupBy, curl, distinct, har, hide, openapi, postman, slug, unmarked_json};

#[cfg(test)]
mod tests;

/// Bytes of a file: recordings of browsers are large.
const MOST_BYTES: u64 = 256 << 20;

/// Reads the file, and writes flows that validate: all of them, or none.
pub(crate) fn import(args: &ImportArgs, screen: &mut Screen) -> Result<Exit, Stop> {
    if args.group_by.is_some() && matches!(args.source, ImportSource::Har | ImportSource::Curl) {
        return Err(Stop::input("--group-by is for openapi and postman: the others make one flow"));
    }
    if args.assets && args.source != ImportSource::Har {
        return Err(Stop::input("--assets is for har"));
    }
    let text = read(&args.file)?;
    let failed = |reason: String| Stop::input(format!("`{}`: {reason}", args.file.display()));
    let drafts = drafts(args, &text).map_err(failed)?;
    let flows = drafts.iter().map(Draft::write).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    match (&args.output, flows.as_slice()) {
        (Some(output), _) => {
            let files = files(output, &drafts)?;
            write(&files, &flows, args.force)?;
            for (file, draft) in files.iter().zip(&drafts) {
                let n = draft.steps.len();
                screen.print(&format!("wrote {} ({n} {})\n", file.display(), if n == 1 { "step" } else { "steps" }));
            }
        }
        (None, [flow]) => screen.print(flow),
        (None, flows) => {
            let message =
                format!("it makes {} flows: write them with --output DIR, or one with --group-by all", flows.len());
            return Err(failed(message));
        }
    }
    for warning in drafts.iter().flat_map(Draft::warnings) {
        Screen::complain(&format!("`{}`: {warning}", args.file.display()));
    }
    Ok(Exit::Passed)
}

fn drafts(args: &ImportArgs, text: &str) -> Result<Vec<Draft>, String> {
    let name = args.file.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "-").unwrap_or("imported");
    let mut drafts = match args.source {
        ImportSource::Openapi => openapi::read(&document(text)?, name, args.group_by.unwrap_or(GroupBy::Request))?,
        ImportSource::Postman => postman::read(&document(text)?, name, args.group_by)?,
        ImportSource::Har => har::read(&document(text)?, name, args.assets)?,
        ImportSource::Curl => curl::read(text, name, args.file.parent().unwrap_or(Path::new(".")))?,
    };
    hide(&mut drafts, args.source == ImportSource::Openapi);
    Ok(drafts)
}

fn read(path: &Path) -> Result<String, Stop> {
    let unreadable = |error: std::io::Error| Stop::input(format!("cannot read `{}`: {error}", path.display()));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let file = fs::File::open(path).map_err(unreadable)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Stop::input(format!("`{}` has more than 256 MiB", path.display())));
    }
    let text = String::from_utf8(bytes).map_err(|_| Stop::input(format!("`{}` is not UTF-8 text", path.display())))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A document in JSON, or in YAML.
fn document(text: &str) -> Result<Json, String> {
    let error = match serde_json::from_str(text) {
        Ok(json) => return Ok(unmarked_json(json)),
        Err(error) => error,
    };
    if text.trim_start().starts_with(['{', '[']) {
        return Err(format!("it is not JSON: {error}"));
    }
    let found = match parse_variables(text) {
        Ok(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), value.to_json()));
            return Ok(unmarked_json(Json::Object(entries.collect())));
        }
        Err(found) => found,
    };
    let first = found.first().map(|first| format!("{} (line {})", first.message, first.line)).unwrap_or_default();
    Err(format!("it is neither JSON nor YAML that can be read: {first}"))
}

/// The file that is named, or in a folder one for each flow, named after it.
fn files(output: &Path, drafts: &[Draft]) -> Result<Vec<PathBuf>, Stop> {
    let is_file = output.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if is_file && !output.is_dir() {
        return match drafts.len() {
            1 => Ok(vec![output.to_owned()]),
            n => Err(Stop::input(format!("it makes {n} flows, and `{}` is one file: name a folder", output.display()))),
        };
    }
    let mut taken = HashSet::new();
    let names = drafts.iter().map(|draft| {
        let slug = slug(&draft.name);
        distinct(if slug.is_empty() { "flow" } else { &slug }, &mut taken)
    });
    Ok(names.map(|name| output.join(format!("{name}.yaml"))).collect())
}

/// Writes all of the flows or none: beside their places first, then each to its place.
fn write(files: &[PathBuf], flows: &[String], force: bool) -> Result<(), Stop> {
    let there: Vec<_> = files.iter().filter(|file| file.exists()).collect();
    if let (Some(first), false) = (there.first(), force) {
        let others = match there.len() {
            1 => " is".to_owned(),
            n => format!(" and {} more are", n - 1),
        };
        return Err(Stop::input(format!("`{}`{others} there already (--force writes over them)", first.display())));
    }
    let folder = files.first().and_then(|file| file.parent()).unwrap_or(Path::new("."));
    let failed = |error: &std::io::Error| Stop::not_run(format!("cannot write to `{}`: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let beside = |file: &Path| file.with_extension("yaml.part");
    let written = files.iter().zip(flows).try_for_each(|(file, flow)| {
        let mut part = fs::File::create(beside(file))?;
        part.write_all(flow.as_bytes())?;
        part.sync_all()
    });
    let placed = written.and_then(|()| files.iter().try_for_each(|file| fs::rename(beside(file), file)));
    placed.map_err(|error| {
        for file in files {
            // What is not there is not in the way.
            let _ = fs::remove_file(beside(file));
        }
        failed(&error)
    })
}
