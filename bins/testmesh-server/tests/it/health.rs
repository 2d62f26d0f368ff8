//! `health`: the binary asks a running server about itself.

use crate::server::{Server, binary, outcome};

#[tokio::test]
async fn a_server_is_asked_by_its_own_binary_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let address = server.address().to_owned();
    let (code, out, errors) = outcome(binary().args(["health", "--listen", &address]));
    assert!(code == 0 && out.contains("flows_database: ok"), "{code} {out} {errors}");
    let (code, _, errors) = outcome(binary().args(["health", "--live"]).env("TESTMESH_LISTEN", &address));
    assert_eq!(code, 0, "{errors}");
    let (code, _, errors) = outcome(
        binary().args(["health", "--url", &format!("http://{address}/nowhere")]).env("TESTMESH_LISTEN", "127.0.0.1:1"),
    );
    assert!(code == 1 && errors.contains("404"), "{code} {errors}");
    drop(server);
    let (code, _, errors) = outcome(binary().args(["health", "--listen", &address]));
    assert!(code == 1 && errors.contains(&address), "{code} {errors}");
}

#[test]
fn a_wrong_question_is_refused_with_code_2() {
    let (code, _, errors) = outcome(binary().args(["health", "--url", "https://127.0.0.1/"]));
    assert!(code == 2 && errors.contains("--url"), "{code} {errors}");
    let (code, _, errors) = outcome(binary().args(["health", "--url", "http://127.0.0.1/", "--live"]));
    assert!(code == 2 && errors.contains("--live"), "{code} {errors}");
}
