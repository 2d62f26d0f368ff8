//! `cargo xtask image`: the container image without a container engine: the tree of its files, its bill of materials, and
//! an OCI layout that every registry client takes. `--try` runs what is in the tree as a container would.

mod bill;
mod layout;
mod tree;
mod trial;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::workspace::{self, Failure};

/// The programs of the image.
const PROGRAMS: [&str; 2] = ["testmesh-server", "testmesh"];
/// Where they are in it.
const PROGRAM_FOLDER: &str = "usr/local/bin";
/// User and group of the processes, and the owner of the data folder.
const USER: u32 = 65_532;
/// The data folder.
const DATA: &str = "var/lib/testmesh";

/// How it is made.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Make the tree alone, without the layout
    #[arg(long)]
    tree_only: bool,
    /// Take binaries built for debugging: larger, and built sooner
    #[arg(long)]
    debug: bool,
    /// Run the contents as a container would: read-only, as an unprivileged user, with an empty environment
    #[arg(long = "try")]
    try_out: bool,
}

/// Makes the image; says whether what was tried worked.
pub(crate) fn run(root: &Path, options: &Options, out: &mut dyn Write) -> Result<bool, Failure> {
    let target = workspace::target(root)?;
    let programs = build(root, &target, options.debug)?;
    let folder = target.join("image");
    let place = folder.join("tree");
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    let files = tree::lay(root, &programs, &place)?;
    let bill = bill::of(root, &place, &files)?;
    std::fs::create_dir_all(place.join("usr/share/testmesh"))?;
    std::fs::write(place.join(bill::PATH), serde_json::to_string_pretty(&bill)?)?;
    std::fs::copy(place.join(bill::PATH), folder.join("testmesh.cdx.json"))?;
    let n_components = bill["components"].as_array().map_or(0, Vec::len);
    writeln!(out, "image: {} ({n_components} components in its bill of materials)", place.display())?;
    if !options.tree_only {
        let archive = layout::write(&place, &folder)?;
        writeln!(out, "image: {} ({} MiB)", archive.display(), std::fs::metadata(&archive)?.len() >> 20)?;
    }
    if options.try_out { trial::run(&place, out) } else { Ok(true) }
}

fn build(root: &Path, target: &Path, debug: bool) -> Result<Vec<PathBuf>, Failure> {
    if debug {
        workspace::build(root)?;
    } else {
        let mut cargo = workspace::cargo();
        cargo.current_dir(root).args(["build", "--release", "--locked", "--quiet"]);
        cargo.args(PROGRAMS.iter().flat_map(|program| ["-p", program]));
        if !cargo.status()?.success() {
            return Err("the programs do not build".into());
        }
    }
    let folder = target.join(if debug { "debug" } else { "release" });
    Ok(PROGRAMS.iter().map(|program| folder.join(program)).collect())
}
