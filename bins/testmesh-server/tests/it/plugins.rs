//! Plugins on a server.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use testmesh_runner::plugins::guest::{Guest, READ};

use crate::server::Server;

const FLOW: &str = "name: plugins\nsteps:\n  - {action: plugin.echo, config: {text: hi}, assert: text == 'hi'}\n";

#[tokio::test]
async fn flows_use_plugins_where_a_folder_is_named_and_as_far_as_is_granted() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    Guest::default().write(&plugins, "echo");
    Guest { asks: &["files"], run: READ, ..Guest::default() }.write(&plugins, "reader");
    std::fs::write(folder.path().join("a.json"), "{\"a\": 1}").unwrap();
    let reading = "name: reading\nsteps:\n  - {action: plugin.reader, config: {path: a.json}, assert: a == 1}\n";
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (plugins, files) = (text(&plugins), text(folder.path()));

    let server = Server::start(&folder.path().join("without"));
    let (status, problem) = server.post_yaml("/api/v1/flows", FLOW).await;
    assert_eq!(status, 422, "{problem:#}");
    assert!(problem.to_string().contains("no plugins are loaded here"), "{problem:#}");

    let server = Server::start_with(&folder.path().join("with"), &["--plugin-dir", &plugins]);
    let (status, flow) = server.post_yaml("/api/v1/flows", FLOW).await;
    assert_eq!(status, 201, "{flow:#}");
    let (_, execution) = server.post_yaml("/api/v1/executions?wait=30s", FLOW).await;
    assert_eq!(execution["status"], "passed", "{execution:#}");
    let (status, problem) = server.post_yaml("/api/v1/flows", reading).await;
    assert_eq!(status, 422, "{problem:#}");
    assert!(problem.to_string().contains("--plugin-allow reader=files"), "{problem:#}");

    let flags = ["--plugin-dir", &plugins, "--plugin-allow", "reader=files", "--flow-files", &files];
    let server = Server::start_with(&folder.path().join("granted"), &flags);
    let (_, execution) = server.post_yaml("/api/v1/executions?wait=30s", reading).await;
    assert_eq!(execution["status"], "passed", "{execution:#}");
}

/// The compiled plugins that are kept in a folder. What has a suffix is about them.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries(&folder.join("compiled-plugins/modules")).flat_map(|version| entries(&version));
    files.filter(|file| file.extension().is_none()).collect()
}

#[tokio::test]
async fn compiled_plugins_are_kept_in_the_data_folder_unless_something_else_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    Guest::default().write(&plugins, "echo");
    let plugins = plugins.to_str().unwrap();
    let run = async |data: &Path, more: &[&str]| {
        let server = Server::start_with(data, &[&["--plugin-dir", plugins], more].concat());
        let (_, execution) = server.post_yaml("/api/v1/executions?wait=30s", FLOW).await;
        assert_eq!(execution["status"], "passed", "{execution:#}");
    };
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    run(&data, &[]).await;
    let files = kept(&data);
    assert_eq!(files.len(), 1);
    std::fs::File::options().write(true).open(&files[0]).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    run(&data, &[]).await;
    assert_eq!(files[0].metadata().unwrap().modified().unwrap(), SystemTime::UNIX_EPOCH, "it was written again");

    let data = folder.path().join("another");
    run(&data, &["--plugin-cache", "off"]).await;
    run(&data, &["--plugin-cache", other.to_str().unwrap()]).await;
    assert!(kept(&data).is_empty() && kept(&other).len() == 1);
}
