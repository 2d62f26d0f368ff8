//! `testmesh import`: flows from OpenAPI descriptions, Postman collections, HTTP Archives and curl commands.

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::args::{ImportArgs, ImportSource};
use crate::console::Screen;
use crate::exit::{Exit, Stop};
use crate::import::{Draft, curl, distinct, har, openapi, postman, slug};

/// Bytes of a file: recordings of browsers are large.
const MOST_BYTES: u64 = 256 << 20;

/// Reads the file, and writes flows that validate: all of them, or none.
pub(crate) fn import(args: &ImportArgs, screen: &mut Screen) -> Result<Exit, Stop> {
    let text = read(&args.file)?;
    let name = args.file.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "-").unwrap_or("imported");
    let failed = |reason: String| Stop::input(format!("`{}`: {reason}", args.file.display()));
    let drafts = match args.source {
        ImportSource::Openapi => document(&text).and_then(|json| openapi::read(&json, name, args.group_by)),
        ImportSource::Postman => document(&text).and_then(|json| postman::read(&json, name)),
        ImportSource::Har => document(&text).and_then(|json| har::read(&json, name)),
        ImportSource::Curl => curl::read(&text, name),
    };
    let drafts = drafts.map_err(failed)?;
    let flows = drafts.iter().map(Draft::write).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    match (&args.output, flows.as_slice()) {
        (Some(folder), flows) => {
            let files = files(folder, &drafts);
            write(folder, &files, flows, args.force)?;
            for (file, draft) in files.iter().zip(&drafts) {
                let n_left = draft.notes.len() + draft.steps.iter().map(|step| step.notes.len()).sum::<usize>();
                let notes = if n_left == 0 { String::new() } else { format!(", {n_left} comments") };
                screen.print(&format!("wrote {} ({} steps{notes})\n", file.display(), draft.steps.len()));
            }
        }
        (None, [flow]) => screen.print(flow),
        (None, flows) => {
            let message = format!("it makes {} flows: say where with --output DIR", flows.len());
            return Err(Stop::input(message));
        }
    }
    Ok(Exit::Passed)
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
        Ok(json) => return Ok(json),
        Err(error) => error,
    };
    if text.trim_start().starts_with(['{', '[']) {
        return Err(format!("it is not JSON: {error}"));
    }
    let found = match testmesh_runner::flow::parse_variables(text) {
        Ok(entries) => return Ok(Json::Object(entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())),
        Err(found) => found,
    };
    let first = found.first().map(|first| format!("{} (line {})", first.message, first.line)).unwrap_or_default();
    Err(format!("it is neither JSON nor YAML: {first}"))
}

/// A file for each flow, named after it.
fn files(folder: &Path, drafts: &[Draft]) -> Vec<PathBuf> {
    let mut taken = HashSet::new();
    let names = drafts.iter().map(|draft| {
        let slug = slug(&draft.name);
        distinct(if slug.is_empty() { "flow" } else { &slug }, &mut taken)
    });
    names.map(|name| folder.join(format!("{name}.yaml"))).collect()
}

/// Writes all of the flows or none: beside their places first, then each to its place.
fn write(folder: &Path, files: &[PathBuf], flows: &[String], force: bool) -> Result<(), Stop> {
    let there: Vec<_> = files.iter().filter(|file| file.exists()).collect();
    if let (Some(first), false) = (there.first(), force) {
        let others = if there.len() > 1 { format!(" and {} others are", there.len() - 1) } else { " is".to_owned() };
        return Err(Stop::input(format!("`{}`{others} there already (--force writes over them)", first.display())));
    }
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
