//! The workspace as it lies on disk: its members, their edges, its files.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What went wrong, for people.
pub(crate) type Failure = Box<dyn Error>;

/// The folder of the workspace that this program was built from.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.to_path_buf(), Path::to_path_buf)
}

/// Cargo, without what the cargo that runs this program tells it of its own package: build scripts look at that, and
/// would build half of the dependencies anew.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let is_own = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_own(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo
}

/// Builds every program and test of the workspace for debugging: always all, since a part of them would be resolved with
/// other features and build the dependencies anew.
pub(crate) fn build(root: &Path) -> Result<(), Failure> {
    let arguments = ["build", "--workspace", "--locked", "--quiet", "--bins", "--tests"];
    if cargo().current_dir(root).args(arguments).status()?.success() {
        return Ok(());
    }
    Err("the workspace does not build".into())
}

/// A member of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// The crate's name.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Its `Cargo.toml`.
    pub(crate) manifest: PathBuf,
    /// The other members it depends on.
    pub(crate) edges: Vec<Edge>,
}

/// A dependency of one member on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The crate that is depended on.
    pub(crate) to: String,
    /// Whether only tests depend on it.
    pub(crate) for_tests: bool,
    /// The features that the dependency turns on.
    pub(crate) features: Vec<String>,
}

/// Reads the members of the workspace at `root`.
pub(crate) fn members(root: &Path) -> Result<Vec<Member>, Failure> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let packages = metadata.workspace_packages();
    let is_member = |name: &str| packages.iter().any(|package| package.name.as_str() == name);
    let member = |package: &&cargo_metadata::Package| {
        let manifest = package.manifest_path.clone().into_std_path_buf();
        let edges = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.source.is_none() && is_member(&dependency.name))
            .map(|dependency| Edge {
                to: dependency.name.clone(),
                for_tests: dependency.kind == DependencyKind::Development,
                features: dependency.features.clone(),
            });
        Member {
            name: package.name.to_string(),
            folder: manifest.parent().unwrap_or(root).to_path_buf(),
            manifest: manifest.clone(),
            edges: edges.collect(),
        }
    };
    Ok(packages.iter().map(member).collect())
}

/// Cargo's target folder of the workspace at `root`.
pub(crate) fn target(root: &Path) -> Result<PathBuf, Failure> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// Every file below `folder` with this extension, sorted; none when there is no such folder. Build output and hidden
/// folders are left out.
pub(crate) fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    collect(folder, extension, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, extension, found)?;
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// The text of a file, with its name in the error.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| format!("read `{}`: {error}", path.display()).into())
}

#[cfg(test)]
pub(crate) mod fixture {
    //! Small workspaces in temporary folders, to break rules in.

    use std::fs;

    use tempfile::TempDir;

    /// A folder with these files.
    pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a file in a folder")).expect("create a folder");
            fs::write(path, text).expect("write a file");
        }
        folder
    }

    /// A workspace of crates that depend on each other as said: `("crates/testmesh-api", &["testmesh-runner"])`. An
    /// edge that begins with `dev:` is for tests alone; `name[feature]` turns a feature on.
    pub(crate) fn workspace(crates: &[(&str, &[&str])]) -> TempDir {
        let mut files = vec![("Cargo.toml".to_owned(), root_manifest(crates))];
        for (folder, edges) in crates {
            files.push((format!("{folder}/Cargo.toml"), manifest(crates, folder, edges)));
            files.push((format!("{folder}/src/lib.rs"), "//! Nothing.\n".to_owned()));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        self::folder(&files)
    }

    fn name(folder: &str) -> &str {
        folder.rsplit('/').next().expect("a name")
    }

    fn root_manifest(crates: &[(&str, &[&str])]) -> String {
        let members: Vec<_> = crates.iter().map(|(folder, _)| format!("{folder:?}")).collect();
        format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n", members.join(", "))
    }

    fn manifest(crates: &[(&str, &[&str])], folder: &str, edges: &[&str]) -> String {
        let up = "../".repeat(folder.matches('/').count() + 1);
        let line = |edge: &str| {
            let (edge, features) = match edge.split_once('[') {
                Some((edge, feature)) => (edge, format!(", features = [{:?}]", feature.trim_end_matches(']'))),
                None => (edge, String::new()),
            };
            let (target, _) = crates.iter().find(|(folder, _)| name(folder) == edge).expect("a crate of the fixture");
            format!("{edge} = {{ path = \"{up}{target}\"{features} }}\n")
        };
        let normal: String = edges.iter().filter(|edge| !edge.starts_with("dev:")).map(|edge| line(edge)).collect();
        let tests: String = edges.iter().filter_map(|edge| edge.strip_prefix("dev:")).map(line).collect();
        let name = name(folder);
        format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n{normal}\n\
             [dev-dependencies]\n{tests}"
        )
    }
}
