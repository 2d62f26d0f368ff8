//! The bill of materials, as CycloneDX describes it: every crate that is compiled in, and every library beside.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{PROGRAMS, tree};
use crate::workspace::{self, Failure};

/// Where it is in the image.
pub(super) const PATH: &str = "usr/share/testmesh/sbom.cdx.json";

/// The bill of the programs and of the libraries in the tree.
pub(super) fn of(root: &Path, place: &Path, libraries: &[PathBuf]) -> Result<Value, Failure> {
    let version = Command::new("rustc").arg("-vV").output()?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), host.to_owned()])
        .exec()?;
    let lock: toml::Value = toml::from_str(&workspace::read(&root.join("Cargo.lock"))?)?;
    let used = used(&metadata)?;
    let mut components: Vec<Value> = metadata
        .packages
        .iter()
        .filter(|package| used.contains(&package.id))
        .map(|package| {
            let (name, version) = (package.name.as_str(), package.version.to_string());
            let mut component = json!({
                "type": "library",
                "bom-ref": package.id.repr,
                "name": name,
                "version": version,
                "purl": format!("pkg:cargo/{name}@{version}"),
            });
            if let Some(licence) = &package.license {
                component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
            }
            if let Some(checksum) = checksum(&lock, name, &version) {
                component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
            }
            component
        })
        .collect();
    for library in libraries {
        let bytes = std::fs::read(tree::inside(place, library))?;
        components.push(json!({
            "type": "library",
            "bom-ref": format!("file:{}", library.display()),
            "name": library.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
            "hashes": [{"alg": "SHA-256", "content": hex::encode(Sha256::digest(&bytes))}],
        }));
    }
    let own = metadata.packages.iter().find(|package| package.name.as_str() == PROGRAMS[0]);
    let own = own.ok_or("the workspace has no server")?;
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "container",
            "name": "testmesh",
            "version": own.version.to_string(),
            "licenses": [{"expression": own.license}],
        }},
        "components": components,
        "dependencies": dependencies(&metadata, &used),
    }))
}

/// The packages that are compiled into the programs: not those of tests, and not those of build scripts alone.
fn used(metadata: &Metadata) -> Result<BTreeSet<PackageId>, Failure> {
    let resolve = metadata.resolve.as_ref().ok_or("cargo did not resolve the dependencies")?;
    let nodes: HashMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let programs = metadata.packages.iter().filter(|package| PROGRAMS.contains(&package.name.as_str()));
    let mut waiting: Vec<PackageId> = programs.map(|package| package.id.clone()).collect();
    let mut used = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !used.insert(id.clone()) {
            continue;
        }
        let Some(node) = nodes.get(&id) else { continue };
        let is_normal =
            |kinds: &[cargo_metadata::DepKindInfo]| kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
        waiting.extend(node.deps.iter().filter(|edge| is_normal(&edge.dep_kinds)).map(|edge| edge.pkg.clone()));
    }
    Ok(used)
}

fn dependencies(metadata: &Metadata, used: &BTreeSet<PackageId>) -> Vec<Value> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes).filter(|node| used.contains(&node.id));
    nodes
        .map(|node| {
            let on: Vec<_> =
                node.dependencies.iter().filter(|id| used.contains(id)).map(|id| id.repr.clone()).collect();
            json!({"ref": node.id.repr, "dependsOn": on})
        })
        .collect()
}

/// What the lock file says of a package's archive.
fn checksum(lock: &toml::Value, name: &str, version: &str) -> Option<String> {
    let packages = lock.get("package")?.as_array()?;
    let text = |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let is_it = |package: &&toml::Value| {
        text(package, "name").as_deref() == Some(name) && text(package, "version").as_deref() == Some(version)
    };
    text(packages.iter().find(is_it)?, "checksum")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_names_what_is_compiled_in_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let library = PathBuf::from("/lib/libx.so");
        std::fs::create_dir_all(place.path().join("lib")).unwrap();
        std::fs::write(tree::inside(place.path(), &library), "x").unwrap();
        let bill = of(&workspace::root(), place.path(), &[library]).unwrap();
        let named =
            |name: &str| bill["components"].as_array().unwrap().iter().find(|component| component["name"] == name);
        let tokio = named("tokio").unwrap();
        assert_eq!(tokio["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert_eq!(tokio["licenses"][0]["expression"], "MIT");
        assert!(named("testmesh-runner").is_some() && named("libx.so").is_some());
        // Of tests, and of this tool.
        assert!(named("proptest").is_none() && named("xtask").is_none());
    }
}
