//! The folder of compiled plugins.
//!
//! What is read from it is run as this program's own code, so it is used only when nobody else can get there.

use std::fs::{DirBuilder, Metadata};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmtime::{Cache, CacheConfig};

/// The folder's name. It is always one of its own, since everything in it that is not known is taken for waste.
const NAME: &str = "compiled-plugins";
/// Longer than any file takes to be written.
const WRITING: Duration = Duration::from_mins(10);

/// Opens the folder below `parent`, and makes both if need be.
pub(super) fn open(parent: &Path) -> Result<Cache, String> {
    let folder = made(&parent.join(NAME)).map_err(|error| format!("`{}`: {error}", parent.display()))?;
    let metadata = folder.metadata().map_err(|error| format!("`{}`: {error}", folder.display()))?;
    if !is_ours_alone(&metadata) {
        return Err(format!("`{}` is not this user's alone (0700)", folder.display()));
    }
    drop_unfinished(&folder);
    let mut config = CacheConfig::new();
    config.with_directory(folder);
    // What is used often would be packed again, harder, which takes a processor for a minute.
    let level = config.baseline_compression_level();
    config.with_optimized_compression_level(level);
    Cache::new(config).map_err(|error| format!("{error:#}"))
}

fn made(folder: &Path) -> std::io::Result<PathBuf> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    folder.canonicalize()
}

/// Takes away what a process left that ended while it wrote: the file that it wrote could not be written again before.
fn drop_unfinished(folder: &Path) {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries(&folder.join("modules")).flat_map(|version| entries(&version.path()));
    for file in files {
        let path = file.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let modified = file.metadata().and_then(|file| file.modified()).ok();
        let age = modified.and_then(|modified| modified.elapsed().ok());
        if extension.starts_with("wip-atomic-write") && age.is_some_and(|age| age > WRITING) {
            // What cannot be taken away is only in the way of a file that is not kept then.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether nobody else gets into the folder, whatever the rights of what is in it.
#[cfg(unix)]
fn is_ours_alone(folder: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    folder.uid() == nix::unistd::geteuid().as_raw() && folder.mode() & 0o777 == 0o700
}

/// Elsewhere the folders of users are closed to others by themselves.
#[cfg(not(unix))]
fn is_ours_alone(_folder: &Metadata) -> bool {
    true
}
