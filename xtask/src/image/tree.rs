//! The image's files: the programs, the libraries that the loader names for them, and what a library asks the system for.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Uid;

use super::{DATA, PROGRAM_FOLDER, USER};
use crate::workspace::Failure;

/// Where systems keep the authorities that they trust.
const AUTHORITIES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Lays the tree; gives back the libraries in it, by their paths inside.
pub(super) fn lay(root: &Path, programs: &[PathBuf], place: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut libraries = BTreeSet::new();
    for program in programs {
        let name = program.file_name().ok_or("a program has no name")?;
        put(program, &place.join(PROGRAM_FOLDER).join(name), 0o755)?;
        libraries.extend(needed(program)?);
    }
    for library in &libraries {
        // The loader finds them at the same paths.
        put(library, &inside(place, library), 0o755)?;
    }
    text(&place.join("etc/passwd"), &format!("testmesh:x:{USER}:{USER}::/:/nonexistent\n"))?;
    text(&place.join("etc/group"), &format!("testmesh:x:{USER}:\n"))?;
    text(&place.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
    let authorities = AUTHORITIES.iter().find(|path| Path::new(path).exists());
    let authorities = authorities.ok_or("this system has no bundle of certificate authorities (ca-certificates)")?;
    put(Path::new(authorities), &place.join("etc/ssl/certs/ca-certificates.crt"), 0o644)?;
    put(&root.join("LICENSE"), &place.join("usr/share/testmesh/LICENSE"), 0o644)?;
    put(&root.join("examples/hello.yaml"), &place.join("usr/share/testmesh/hello.yaml"), 0o644)?;
    folder(&place.join("tmp"), 0o1777)?;
    folder(&place.join(DATA), 0o750)?;
    if Uid::effective().is_root() {
        chown(place.join(DATA), Some(USER), Some(USER))?;
    }
    Ok(libraries.into_iter().collect())
}

/// A path of this system in the tree.
pub(super) fn inside(place: &Path, path: &Path) -> PathBuf {
    place.join(path.strip_prefix("/").unwrap_or(path))
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<(), Failure> {
    fs::create_dir_all(to.parent().ok_or("a file without a folder")?)?;
    fs::copy(from, to).map_err(|error| format!("copy `{}`: {error}", from.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

fn text(path: &Path, text: &str) -> Result<(), Failure> {
    fs::create_dir_all(path.parent().ok_or("a file without a folder")?)?;
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o644))?)
}

fn folder(path: &Path, mode: u32) -> Result<(), Failure> {
    fs::create_dir_all(path)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// The libraries that the loader takes for a program, the loader itself included.
fn needed(program: &Path) -> Result<Vec<PathBuf>, Failure> {
    let output = Command::new("ldd").arg(program).output()?;
    let (text, errors) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
    if errors.contains("not a dynamic executable") || text.contains("statically linked") {
        return Ok(Vec::new());
    }
    if !output.status.success() {
        return Err(format!("`ldd {}`: {}", program.display(), errors.trim()).into());
    }
    libraries(&text)
}

fn libraries(text: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("linux-vdso")) {
        let path = line.split(" => ").last().unwrap_or(line).split(" (").next().unwrap_or(line);
        if !path.starts_with('/') {
            return Err(format!("a library is not there: `{line}`").into());
        }
        found.push(PathBuf::from(path));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_words_become_paths_and_a_missing_library_is_an_error() {
        let text = "\tlinux-vdso.so.1 (0x7f)\n\tlibm.so.6 => /lib/x/libm.so.6 (0x7f)\n\t/lib64/ld.so.2 (0x7f)\n";
        assert_eq!(libraries(text).unwrap(), ["/lib/x/libm.so.6", "/lib64/ld.so.2"].map(PathBuf::from));
        assert!(libraries("\tlibz.so => not found\n").unwrap_err().to_string().contains("libz.so"));
    }
}
