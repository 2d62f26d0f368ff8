//! `testmesh init`: a first flow that passes as it stands.

use crate::args::InitArgs;
use crate::console::Screen;
use crate::exit::{Exit, Stop};

const FILE: &str = "hello.yaml";
const FLOW: &str = include_str!("init/hello.yaml");

/// Writes the flow; never over a file that is there.
pub(crate) fn init(args: &InitArgs, screen: &mut Screen) -> Result<Exit, Stop> {
    let path = args.folder.join(FILE);
    let failed = |error: std::io::Error| Stop::not_run(format!("cannot write `{}`: {error}", path.display()));
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    let mut file = match std::fs::File::create_new(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Stop::input(format!("`{}` is there already and stays as it is", path.display())));
        }
        Err(error) => return Err(failed(error)),
    };
    std::io::Write::write_all(&mut file, FLOW.as_bytes()).map_err(failed)?;
    let shown = path.strip_prefix("./").unwrap_or(&path).display();
    screen.print(&format!("wrote {shown}\n\nRun it:    testmesh run {shown}\nCheck it:  testmesh validate {shown}\n"));
    Ok(Exit::Passed)
}
