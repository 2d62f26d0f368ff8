//! `testmesh init`: a first flow that passes as it stands.

use std::fs::File;
use std::io::{ErrorKind, Write as _};

use crate::args::InitArgs;
use crate::console::Screen;
use crate::exit::{Exit, Stop};

const FILE: &str = "hello.yaml";
const FLOW: &str = include_str!("init/hello.yaml");

/// Writes the flow; over a file that is there only when told to.
pub(crate) fn init(args: &InitArgs, screen: &mut Screen) -> Result<Exit, Stop> {
    let is_file = args.path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let path = if is_file { args.path.clone() } else { args.path.join(FILE) };
    let failed = |error: std::io::Error| Stop::not_run(format!("cannot write `{}`: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let opened = if args.force { File::create(&path) } else { File::create_new(&path) };
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!("`{}` is there already (--force writes over it)", path.display());
            return Err(Stop::input(message));
        }
        Err(error) => return Err(failed(error)),
    };
    file.write_all(FLOW.as_bytes()).map_err(failed)?;
    let shown = path.strip_prefix("./").unwrap_or(&path).display();
    screen.print(&format!("wrote {shown}\n\nRun it:    testmesh run {shown}\nCheck it:  testmesh validate {shown}\n"));
    Ok(Exit::Passed)
}
