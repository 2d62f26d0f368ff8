//! Plugins on a server.

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
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
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
