//! `testmesh fmt`: flow files in their usual form.

use testmesh_runner::flow::format;

use crate::args::FmtArgs;
use crate::console::Screen;
use crate::exit::{Exit, Stop};
use crate::plan::summary;
use crate::sources;

/// Rewrites the files that are not formatted, or names them.
pub(crate) fn fmt(args: &FmtArgs, screen: &mut Screen) -> Result<Exit, Stop> {
    let mut exit = Exit::Passed;
    for source in sources::collect(&args.paths)? {
        let formatted = match &source.text {
            Ok(text) => format(text).map_err(|found| summary(&source.shown, &found)),
            Err(unread) => Err(format!("`{}`: {}", source.shown, unread.reason)),
        };
        let formatted = match formatted {
            Ok(formatted) => formatted,
            Err(reason) => {
                Screen::complain(&reason);
                exit = Exit::InvalidInput;
                continue;
            }
        };
        if source.text.as_deref().is_ok_and(|text| text == formatted) {
            continue;
        }
        if args.check {
            screen.print(&format!("not formatted: {}\n", source.shown));
            if exit == Exit::Passed {
                exit = Exit::Failed;
            }
        } else {
            std::fs::write(&source.path, formatted)
                .map_err(|error| Stop::not_run(format!("cannot write `{}`: {error}", source.shown)))?;
            screen.print(&format!("formatted: {}\n", source.shown));
        }
    }
    Ok(exit)
}
