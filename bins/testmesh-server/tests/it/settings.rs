//! Settings: documented, checked, and refused with a message that says what to do.

use std::time::Duration;

use reqwest::Method;

use crate::server::{Server, answer, binary, outcome};

#[test]
fn help_names_every_setting_with_variable_and_default() {
    let (code, out, _) = outcome(binary().arg("--help"));
    assert_eq!(code, 0);
    for part in [
        "--listen",
        "TESTMESH_LISTEN",
        "127.0.0.1:5016",
        "TESTMESH_DATA_DIR",
        "./testmesh-data",
        "TESTMESH_TOKENS_FILE",
        "TESTMESH_CORS_ORIGINS",
        "TESTMESH_METRICS_ADDR",
        "TESTMESH_LOG_FORMAT",
        "TESTMESH_LOG_LEVEL",
        "TESTMESH_CONCURRENCY",
        "TESTMESH_BROWSER",
        "TESTMESH_EXEC_ALLOW",
        "TESTMESH_FLOW_FILES",
        "TESTMESH_MOCK_BIND",
        "TESTMESH_MOCK_HOST",
        "TESTMESH_PLUGIN_DIR",
        "TESTMESH_PLUGIN_ALLOW",
        "TESTMESH_PLUGIN_CACHE",
        "TESTMESH_NET_DENY",
        "TESTMESH_NET_ALLOW",
        "TESTMESH_DRAIN_TIMEOUT",
        "DATABASE_URL",
        "TESTMESH_FLOWS_DATABASE_URL",
        "TESTMESH_EXECUTIONS_DATABASE_URL",
        "TESTMESH_SCHEDULER_DATABASE_URL",
        "TESTMESH_DATABASE_CONNECTIONS",
        "REDIS_URL",
        "TESTMESH_REDIS_PREFIX",
        "--config",
        "TESTMESH_CONFIG",
    ] {
        assert!(out.contains(part), "{part} is missing in:\n{out}");
    }
}

#[test]
fn wrong_settings_are_refused_with_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let check = |flags: &[&str], part: &str| {
        let mut command = binary();
        command.args(["--data-dir", folder.path().join("data").to_str().unwrap()]).args(flags);
        command.env("TESTMESH_LISTEN", "127.0.0.1:0");
        let (code, _, errors) = outcome(&mut command);
        assert!(code == 2 && errors.contains(part), "{flags:?}: {code} {errors}");
    };
    check(&["--listen", "0.0.0.0:0"], "--tokens-file");
    check(&["--listen", "[::]:0"], "token create");
    check(&["--listen", "nonsense"], "--listen");
    check(&["--log-level", "loud"], "--log-level");
    check(&["--log-format", "xml"], "xml");
    check(&["--tokens-file", "/nonexistent/tokens"], "/nonexistent/tokens");
    check(&["--cors-origins", "evil"], "--cors-origins");
    check(&["--exec-allow", "psql,,curl"], "--exec-allow");
    check(&["--listen", "127.0.0.1:0", "--net-deny", "everything"], "--net-deny");
    check(&["--flow-files", "/nonexistent/files"], "--flow-files");
    check(&["--concurrency", "0"], "--concurrency");
    check(&["--mock-bind", "localhost"], "--mock-bind");
    check(&["--mock-host", "a b:80"], "--mock-host");
    check(&["--plugin-dir", "/nonexistent/plugins"], "cannot read the folder of plugins `/nonexistent/plugins`");
    check(&["--plugin-allow", "weather"], "--plugin-allow: a capability is granted by PLUGIN=CAPABILITY");
    check(&["--no-such-flag"], "--no-such-flag");
    check(&["--redis-url", "http://:secret@127.0.0.1"], "--redis-url");
    check(&["--flows-database-url", "postgres://a@127.0.0.1/b"], "--database-url");
    let (code, _, errors) = outcome(binary().args(["migrate", "--admin-url", "postgres://a@127.0.0.1/b"]));
    assert!(code == 2 && errors.contains("--admin-url"), "{code} {errors}");
    let (code, _, errors) = outcome(binary().args(["token", "create", "--name", "a b", "--scope", "read"]));
    assert!(code == 2 && errors.contains("the name must be"), "{code} {errors}");
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Server::start(folder.path());
    let (code, _, errors) = outcome(binary().args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()));
    assert!(code == 1 && errors.contains("in use by another server"), "{code} {errors}");
    assert_eq!(first.get("/health").await.0, 200);
}

#[tokio::test]
async fn a_created_token_opens_what_its_scope_allows() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = outcome(binary().args(["token", "create", "--name", "ci", "--scope", "read"]));
    assert_eq!(code, 0);
    let after = |label: &str| out.lines().find_map(|line| line.split_once(label)).unwrap().1.trim().to_owned();
    let (token, line) = (after("shown this once):"), after("tokens file:"));
    let file = folder.path().join("tokens");
    std::fs::write(&file, line).unwrap();
    let flags = ["--tokens-file", file.to_str().unwrap(), "--metrics-addr", "127.0.0.1:0"];
    let server = Server::start_with(&folder.path().join("data"), &flags);
    assert_eq!(server.get("/api/v1/flows").await.0, 401);
    assert_eq!(server.get("/metrics").await.0, 401);
    let ask = |method, path| answer(server.request(method, path).bearer_auth(&token));
    assert_eq!(ask(Method::GET, "/api/v1/flows").await.0, 200);
    assert_eq!(ask(Method::POST, "/api/v1/flows").await.0, 403);
    assert_eq!(server.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn flags_can_be_variables() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary();
    command.env("TESTMESH_LISTEN", "0.0.0.0:0").env("TESTMESH_DATA_DIR", folder.path());
    let run = tokio::task::spawn_blocking(move || outcome(&mut command));
    let (code, _, errors) = tokio::time::timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
    assert!(code == 2 && errors.contains("0.0.0.0:0"), "{code} {errors}");
}

#[test]
fn what_is_in_force_is_shown_with_its_place_and_without_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("t.toml"), folder.path().join("url"));
    std::fs::write(&file, "drain_timeout = 5\nnet_deny = ['10.0.0.0/8', '127.0.0.1:5432']\n").unwrap();
    std::fs::write(&secret, "postgres://me:s3cret@db.example.com/tests\n").unwrap();
    let run = |format: &str| {
        let mut command = binary();
        command.args(["config", "--format", format, "--concurrency", "7", "--config"]).arg(&file);
        command.env("DATABASE_URL_FILE", &secret).env("REDIS_URL", "redis://:s3cret@cache.example.com");
        let (code, out, errors) = outcome(&mut command);
        assert!(code == 0 && !out.contains("s3cret"), "{code} {out} {errors}");
        out
    };
    let settings: Vec<serde_json::Value> = serde_json::from_str(&run("json")).unwrap();
    let text = run("text");
    assert_eq!(settings.len(), text.lines().count() - 1);
    let check = |name: &str, value: serde_json::Value, source: &str, place: &str| {
        let setting = settings.iter().find(|setting| setting["name"] == name).unwrap();
        assert_eq!((&setting["value"], setting["source"].as_str().unwrap()), (&value, source), "{name}");
        assert!(setting["place"].as_str().unwrap_or_default().ends_with(place), "{setting}");
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        assert!(line.ends_with(place), "{line}");
    };
    check("concurrency", "7".into(), "flag", "");
    check("drain_timeout", "5".into(), "file", "t.toml:1:17");
    check("net_deny", serde_json::json!(["10.0.0.0/8", "127.0.0.1:5432"]), "file", "t.toml:2:12");
    check("database_url", "postgres://me:***@db.example.com/tests".into(), "named file", "url)");
    check("flows_database_url", "postgres://me:***@db.example.com/tests".into(), "default", "");
    check("redis_url", "redis://:***@cache.example.com".into(), "environment", "REDIS_URL");
    check("listen", "127.0.0.1:5016".into(), "default", "");
    check("tokens_file", serde_json::Value::Null, "default", "");
}

#[test]
fn a_pod_starts_with_the_variables_that_kubernetes_adds_and_not_with_a_mistaken_one() {
    let run = |name: &str, value: &str| outcome(binary().arg("config").env(name, value));
    assert_eq!(run("TESTMESH_PORT_5016_TCP_ADDR", "10.0.0.7").0, 0);
    let (code, _, errors) = run("TESTMESH_CONCURENCY", "4");
    assert!(code == 2 && errors.contains("did you mean TESTMESH_CONCURRENCY?"), "{code} {errors}");
}

#[cfg(unix)]
#[tokio::test]
async fn flows_run_the_programs_that_are_allowed_by_name_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let flow = "name: programs\nconfig: {fail_fast: false}\nsteps:\n  - {action: exec, config: {command: [echo, hello]}, assert: \
                \"trim(stdout) == 'hello'\"}\n  - {action: exec, config: {command: [env]}}\n";
    for (flags, statuses) in [(&["--exec-allow", "echo,psql"][..], ["passed", "error"]), (&[], ["error", "error"])] {
        let server = Server::start_with(&folder.path().join(statuses[0]), flags);
        let (_, execution) = server.post_yaml("/api/v1/executions?wait=30s", flow).await;
        let found = [0, 1].map(|step| execution["steps"][step]["status"].as_str().unwrap_or_default().to_owned());
        assert_eq!(found, statuses, "{flags:?}: {execution:#}");
        assert_eq!(execution["steps"][1]["error"]["kind"], "policy", "{execution:#}");
    }
}
