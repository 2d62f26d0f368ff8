//! `testmesh validate`: every mistake of every file, before anything runs.

use std::fmt::Write as _;

use serde::Serialize;
use testmesh_runner::diagnostic::{Diagnostic, Severity};
use testmesh_runner::flow::{Flow, ParseOptions};

use crate::args::{ValidateArgs, ValidateFormat};
use crate::console::{Paint, Screen, clean};
use crate::environment;
use crate::exit::{Exit, Stop};
use crate::settings;
use crate::sources::{self, Source};
use crate::spread;

/// What is known of one file.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    valid: bool,
    diagnostics: Vec<Diagnostic>,
}

/// Checks files and prints what was found.
pub(crate) fn validate(args: &ValidateArgs, screen: &mut Screen) -> Result<Exit, Stop> {
    let options = options(args)?;
    let sources = sources::collect(&args.paths)?;
    let checked = spread::map(&sources, |source| check(source, &options));
    match args.format {
        ValidateFormat::Pretty => screen.print(&pretty(&checked, screen.paint())),
        ValidateFormat::Json => {
            let text = serde_json::to_string_pretty(&checked).expect("structs of texts and numbers");
            screen.print(&format!("{text}\n"));
        }
    }
    Ok(if checked.iter().all(|file| file.valid) { Exit::Passed } else { Exit::InvalidInput })
}

fn options(args: &ValidateArgs) -> Result<ParseOptions, Stop> {
    let named = args.variables.iter().map(|text| text.split_once('=').map_or(text.as_str(), |(name, _)| name));
    let known = named.map(str::to_owned).chain(environment::of_process().into_keys());
    let plugins = settings::plugins(&args.plugins)?;
    Ok(ParseOptions { strict: args.strict, known_names: known.collect(), plugins, ..ParseOptions::default() })
}

fn check(source: &Source, options: &ParseOptions) -> Checked {
    let file = source.shown.clone();
    match &source.text {
        Ok(text) => {
            let parsed = Flow::parse(text, options);
            Checked { file, valid: parsed.is_valid(), diagnostics: parsed.diagnostics }
        }
        Err(unread) if !unread.diagnostics.is_empty() => {
            Checked { file, valid: false, diagnostics: unread.diagnostics.clone() }
        }
        Err(unread) => {
            let finding = Diagnostic {
                code: "unreadable_file".to_owned(),
                severity: Severity::Error,
                message: unread.reason.clone(),
                help: None,
                line: 1,
                column: 1,
                end_line: 1,
                end_column: 1,
                snippet: String::new(),
            };
            Checked { file, valid: false, diagnostics: vec![finding] }
        }
    }
}

fn pretty(checked: &[Checked], paint: Paint) -> String {
    let mut text = String::new();
    for file in checked {
        let mark = if file.valid { paint.good("✓") } else { paint.bad("✗") };
        let _ = writeln!(text, "{mark} {}", clean(&file.file));
        for diagnostic in &file.diagnostics {
            let _ = writeln!(text, "{}", diagnostic.render(Some(&file.file), paint.is_on()));
        }
    }
    let n_invalid = checked.iter().filter(|file| !file.valid).count();
    let of =
        |severity| checked.iter().flat_map(|file| &file.diagnostics).filter(|found| found.severity == severity).count();
    let files = if checked.len() == 1 { "1 file".to_owned() } else { format!("{} files", checked.len()) };
    let verdict = if n_invalid == 0 { paint.good("valid") } else { paint.bad(&format!("{n_invalid} invalid")) };
    let _ = writeln!(text, "{files}: {verdict} · {} errors, {} warnings", of(Severity::Error), of(Severity::Warning));
    text
}
