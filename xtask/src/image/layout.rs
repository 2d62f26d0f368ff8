//! An OCI image layout: one layer of plain tar, its configuration, and an index, in an archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{DATA, PROGRAM_FOLDER, PROGRAMS, USER};
use crate::workspace::Failure;

/// Writes the layout of a tree below `folder`, and gives back the archive of it.
pub(super) fn write(tree: &Path, folder: &Path) -> Result<PathBuf, Failure> {
    let layout = folder.join("layout");
    if layout.exists() {
        fs::remove_dir_all(&layout)?;
    }
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let layer = folder.join("layer.tar");
    pack(tree, &layer)?;
    let bytes = fs::read(&layer)?;
    let layer_entry = blob(&blobs, "application/vnd.oci.image.layer.v1.tar", &bytes)?;
    fs::remove_file(&layer)?;
    let config = serde_json::to_vec(&config(layer_entry["digest"].as_str().unwrap_or_default()))?;
    let config_entry = blob(&blobs, "application/vnd.oci.image.config.v1+json", &config)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config_entry,
        "layers": [layer_entry],
    });
    let mut entry = blob(&blobs, "application/vnd.oci.image.manifest.v1+json", &serde_json::to_vec(&manifest)?)?;
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": env!("CARGO_PKG_VERSION")});
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]});
    fs::write(layout.join("index.json"), serde_json::to_vec(&index)?)?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let archive = folder.join("testmesh.oci.tar");
    tar(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&layout).args(ALIKE).args(ROOT).arg("."))?;
    Ok(archive)
}

/// The same tree gives the same bytes.
const ALIKE: [&str; 4] = ["--sort=name", "--mtime=@0", "--numeric-owner", "--format=gnu"];
const ROOT: [&str; 2] = ["--owner=0", "--group=0"];

/// Everything belongs to root but the data folder.
fn pack(tree: &Path, layer: &Path) -> Result<(), Failure> {
    let data = format!("./{DATA}");
    let rest = format!("--exclude={data}");
    tar(Command::new("tar").arg("-cf").arg(layer).arg("-C").arg(tree).args(ALIKE).args(ROOT).arg(rest).arg("."))?;
    let owner = [format!("--owner={USER}"), format!("--group={USER}")];
    tar(Command::new("tar").arg("-rf").arg(layer).arg("-C").arg(tree).args(ALIKE).args(owner).arg(data))
}

fn tar(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`tar` (GNU) ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()).into())
}

fn blob(blobs: &Path, kind: &str, bytes: &[u8]) -> Result<Value, Failure> {
    let digest = hex::encode(Sha256::digest(bytes));
    fs::write(blobs.join(&digest), bytes)?;
    Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
}

/// How a container is started. The Dockerfile says the same.
fn config(layer: &str) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let server = format!("/{PROGRAM_FOLDER}/{}", PROGRAMS[0]);
    let seconds = |n: u64| n * 1_000_000_000;
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Env": [format!("TESTMESH_DATA_DIR=/{DATA}")],
            "Entrypoint": [server],
            "WorkingDir": "/",
            "ExposedPorts": {"5016/tcp": {}},
            "Volumes": {format!("/{DATA}"): {}},
            "Healthcheck": {
                "Test": ["CMD", server, "health"],
                "Interval": seconds(10),
                "Timeout": seconds(6),
                "StartPeriod": seconds(30),
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn the_dockerfile_starts_the_same_as_the_layout() {
        let text = workspace::read(&workspace::root().join("deploy/docker/Dockerfile")).unwrap();
        let config = config("");
        let said = |word: &str| text.lines().rev().find_map(|line| line.strip_prefix(word)).unwrap().trim().to_owned();
        let list = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let config = &config["config"];
        assert_eq!(said("USER "), config["User"]);
        assert_eq!(said("ENV "), config["Env"][0]);
        assert_eq!(said("WORKDIR "), config["WorkingDir"]);
        assert_eq!(list(&said("ENTRYPOINT ")), config["Entrypoint"]);
        assert!(config["ExposedPorts"].get(format!("{}/tcp", said("EXPOSE "))).is_some());
        assert!(config["Volumes"].get(list(&said("VOLUME "))[0].as_str().unwrap()).is_some());
        let health = said("HEALTHCHECK ");
        let (flags, command) = health.split_once(" CMD ").unwrap();
        assert_eq!(flags, "--interval=10s --timeout=6s --start-period=30s");
        assert_eq!(list(command).as_array().unwrap()[..], config["Healthcheck"]["Test"].as_array().unwrap()[1..]);
    }

    #[test]
    fn a_layout_names_its_blobs_by_what_is_in_them_and_is_the_same_every_time() {
        let (tree, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.path().join(DATA)).unwrap();
        fs::write(tree.path().join("a"), "a").unwrap();
        let archive = write(tree.path(), folder.path()).unwrap();
        let first = fs::read(&archive).unwrap();
        for entry in fs::read_dir(folder.path().join("layout/blobs/sha256")).unwrap() {
            let path = entry.unwrap().path();
            let digest = hex::encode(Sha256::digest(fs::read(&path).unwrap()));
            assert_eq!(path.file_name().unwrap().to_str(), Some(digest.as_str()));
        }
        assert_eq!(fs::read(write(tree.path(), folder.path()).unwrap()).unwrap(), first);
    }
}
