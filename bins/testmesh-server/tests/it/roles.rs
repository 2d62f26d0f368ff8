//! Domains in processes of their own: what is refused, what each process answers, that they are one server together.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use testmesh_shared::db::testing::postgres_database;

use crate::server::{HELLO, Server, answer, binary, outcome};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A file with the secret that processes share.
fn token_file(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("token");
    std::fs::write(&path, TOKEN).unwrap();
    path.to_str().unwrap().to_owned()
}

fn start(flags: &[&str]) -> Server {
    Server::start_with(Path::new("/nonexistent/data"), flags)
}

#[test]
fn impossible_shapes_are_refused_with_code_2_and_the_setting_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let token = token_file(&folder);
    let short = folder.path().join("short");
    std::fs::write(&short, "short").unwrap();
    for (flags, part) in [
        ("--roles nothing", "nothing"),
        ("--roles api,storage --runner-url http://127.0.0.1:1", "--internal-token-file"),
        ("--roles api,storage --runner-url http://127.0.0.1:1 --internal-token-file TOKEN", "--database-url"),
        ("--roles storage --internal-listen 127.0.0.1:0 --internal-token-file TOKEN", "--flows-database-url"),
        ("--internal-listen 0.0.0.0:0", "--internal-token-file"),
        ("--runner-listen 127.0.0.1:0 --internal-token-file /nonexistent/token", "/nonexistent/token"),
        ("--runner-listen 127.0.0.1:0 --internal-token-file SHORT", "--internal-token-file"),
        ("--internal-listen 127.0.0.1:0 --internal-cert-file TOKEN", "all three"),
        (
            "--internal-listen 127.0.0.1:0 --internal-cert-file TOKEN --internal-key-file TOKEN --internal-ca-file TOKEN",
            "--internal-cert-file",
        ),
        ("--roles scheduler --database-url postgres://127.0.0.1:1/a", "--redis-url"),
    ] {
        let flags = flags.replace("TOKEN", &token).replace("SHORT", short.to_str().unwrap());
        let mut command = binary();
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path().join("data"));
        let (code, _, errors) = outcome(command.args(flags.split_whitespace()));
        assert!(code == 2 && errors.contains(part) && !errors.contains(TOKEN), "{flags}: {code} {errors}");
    }
}

#[tokio::test]
async fn storage_in_a_process_of_its_own_is_used_like_any_other() {
    let Some(url) = postgres_database(&[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let token = token_file(&folder);
    let shared = ["--database-url", &url, "--internal-token-file", &token];
    let storage = start(&[&shared[..], &["--roles", "storage", "--internal-listen", "127.0.0.1:0"]].concat());
    let address = storage.address_of("the storage on ");
    let storage_url = format!("http://{address}");
    let server = start(&[&shared[..], &["--roles", "api,scheduler,runner", "--storage-url", &storage_url]].concat());

    let (status, flow) = server.post_yaml("/api/v1/flows", HELLO).await;
    assert_eq!(status, 201, "{flow}");
    let id = flow["id"].as_str().unwrap();
    let run = server.request(Method::POST, &format!("/api/v1/flows/{id}/executions?wait=30s"));
    let (status, execution) = answer(run).await;
    assert_eq!((status.as_u16(), &execution["status"]), (200, &json!("passed")), "{execution}");
    // What has no secret learns nothing, and the storage process answers about itself alone.
    let naked = reqwest::Client::builder().build().unwrap();
    let stranger = naked.post(format!("{storage_url}/internal/storage/v1/anything")).json(&json!({ "id": id }));
    assert_eq!(stranger.send().await.unwrap().status(), 401);
    assert_eq!(storage.get("/readyz").await.0, 200);
    assert_eq!(storage.get("/api/v1/flows").await.0, 404);

    storage.kill();
    let (status, problem) = server.get(&format!("/api/v1/flows/{id}")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("unavailable")), "{problem}");
    assert_eq!(server.get("/readyz").await.0, 503);
    let again = start(&[&shared[..], &["--roles", "storage", "--internal-listen", &address]].concat());
    assert_eq!(server.get(&format!("/api/v1/flows/{id}")).await.1, flow);
    assert_eq!(server.get("/readyz").await.0, 200);
    for server in [server, again] {
        server.signal("TERM");
        assert!(server.ended().await.success());
    }
}

#[tokio::test]
async fn a_runner_in_a_process_of_its_own_runs_what_the_api_is_asked_for() {
    let Some(url) = postgres_database(&[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let token = token_file(&folder);
    // Made with their roles before anybody comes with a login of its own.
    assert_eq!(outcome(binary().args(["migrate", "--database-url", &url])).0, 0);
    let (redis, flows) = ("redis://127.0.0.1:1", url.as_str());
    let shared = ["--database-url", &url, "--internal-token-file", &token];
    let runner = [&shared[..], &["--roles", "runner", "--runner-listen", "127.0.0.1:0", "--redis-url", redis]].concat();
    let runner = start(&[&runner[..], &["--flows-database-url", flows]].concat());
    let runner_url = format!("http://{}", runner.address_of("the runner on "));
    let api = start(&[&shared[..], &["--roles", "api,storage", "--runner-url", &runner_url]].concat());
    let (status, execution) = api.post_yaml("/api/v1/executions?wait=30s", HELLO).await;
    assert_eq!((status.as_u16(), &execution["status"]), (200, &json!("passed")), "{execution}");
    let path = format!("/api/v1/executions/{}", execution["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await.1, execution);
    // Redis is away: jobs wait, and everything else is done.
    assert_eq!(runner.get("/readyz").await.0, 200);
    assert_eq!(runner.get("/health").await.1["checks"]["stream"], "degraded");
    for server in [api, runner] {
        server.signal("TERM");
        assert!(server.ended().await.success());
    }
}

#[tokio::test]
async fn chosen_schemas_are_migrated_alone() {
    let Some(url) = postgres_database(&[]).await else { return };
    let (code, out, errors) = outcome(binary().args(["migrate", "--database-url", &url, "--schemas", "executions"]));
    assert!(code == 0 && out.contains("schema `executions`") && !out.contains("`flows`"), "{code} {out} {errors}");
    let (code, _, errors) = outcome(binary().args(["migrate", "--schemas", "executoins"]));
    assert!(code == 2 && errors.contains("executions"), "{code} {errors}");
}
