//! Servers on PostgreSQL: one after a kill, two at once, and the logins that they need.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::db::testing::postgres_database;
use testmesh_shared::ids::new_uuid;
use url::Url;

use crate::server::{HELLO, Server, answer, binary, outcome};

/// A folder that must stay empty: nothing is kept on disk beside PostgreSQL.
fn unused() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn start(url: &str) -> Server {
    Server::start_with(Path::new("/nonexistent/data"), &["--database-url", url])
}

/// `url` with another login.
fn as_user(url: &str, user: &str, password: &str) -> String {
    let mut url = Url::parse(url).unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

fn unique(name: &str) -> String {
    format!("{name}_{}", new_uuid(&SystemClock).simple())
}

#[tokio::test]
async fn everything_survives_a_kill_and_nothing_is_on_disk() {
    let Some(url) = postgres_database(&[]).await else { return };
    let folder = unused();
    let server = Server::start_with(folder.path(), &["--database-url", &url]);
    let (status, flow) = server.post_yaml("/api/v1/flows", HELLO).await;
    assert_eq!(status, 201, "{flow}");
    let (status, execution) = server.post_yaml("/api/v1/executions?wait=30s", HELLO).await;
    assert_eq!((status.as_u16(), &execution["status"]), (200, &json!("passed")), "{execution}");
    server.kill();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    let server = start(&url);
    assert_eq!(server.get(&format!("/api/v1/flows/{}", flow["id"].as_str().unwrap())).await.1, flow);
    let path = format!("/api/v1/executions/{}", execution["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await.1, execution);
    let (status, ready) = server.get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
}

#[tokio::test]
async fn two_servers_share_what_they_keep() {
    let Some(url) = postgres_database(&[]).await else { return };
    let (first, second) = (start(&url), start(&url));
    let (status, flow) = first.post_yaml("/api/v1/flows", HELLO).await;
    assert_eq!(status, 201, "{flow}");
    let id = flow["id"].as_str().unwrap();
    let run = second.request(Method::POST, &format!("/api/v1/flows/{id}/executions?wait=30s"));
    let (status, execution) = answer(run).await;
    assert_eq!((status.as_u16(), &execution["status"]), (200, &json!("passed")), "{execution}");
    let path = format!("/api/v1/executions/{}", execution["id"].as_str().unwrap());
    assert_eq!(first.get(&path).await.1, execution);
}

#[tokio::test]
async fn an_administrator_makes_what_a_plain_login_may_not() {
    let Some(admin) = postgres_database(&[]).await else { return };
    let url = as_user(&admin, &unique("app"), "p@ss/word");
    let migrate = |more: &[&str]| {
        let mut command = binary();
        outcome(command.args(["migrate", "--database-url", &url]).args(more))
    };
    let (code, _, errors) = migrate(&[]);
    assert!(code == 1 && !errors.contains("p@ss") && !errors.contains("p%40ss"), "{code} {errors}");
    for _ in 0..2 {
        let (code, out, errors) = migrate(&["--admin-url", &admin]);
        assert!(code == 0 && out.contains("schema `flows` is at migration"), "{code} {out} {errors}");
    }
    let server = start(&url);
    assert_eq!(server.post_yaml("/api/v1/flows", HELLO).await.0, 201);
}

#[tokio::test]
async fn each_domain_can_have_a_login_of_its_own() {
    let Some(admin) = postgres_database(&[]).await else { return };
    let urls = ["flows", "executions", "scheduler"].map(|name| as_user(&admin, &unique(name), "secret"));
    let flags =
        ["--flows-database-url", &urls[0], "--executions-database-url", &urls[1], "--scheduler-database-url", &urls[2]];
    let mut command = binary();
    let (code, out, errors) = outcome(command.arg("migrate").args(flags).args(["--admin-url", &admin]));
    assert_eq!(code, 0, "{out} {errors}");
    let server = Server::start_with(Path::new("/nonexistent/data"), &flags);
    let (status, execution) = server.post_yaml("/api/v1/executions?wait=30s", HELLO).await;
    assert_eq!((status.as_u16(), &execution["status"]), (200, &json!("passed")), "{execution}");
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_named_without_its_password() {
    let mut command = binary();
    command.args(["--listen", "127.0.0.1:0", "--database-url", "postgres://me:secret@127.0.0.1:1/tests"]);
    let (code, _, errors) = outcome(&mut command);
    assert!(code == 1 && errors.contains("127.0.0.1:1/tests") && !errors.contains("secret"), "{code} {errors}");
}
