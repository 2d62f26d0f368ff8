//! Plugins in flows: what they give back, what they may do, and that each of them can be stopped.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use futures::future::join_all;
use testmesh_runner::files::Files;
use testmesh_runner::flow::{Flow, ParseOptions};
use testmesh_runner::plugins::{Grants, PluginError, Plugins};
use testmesh_runner::record::{ErrorKind, StepStatus};
use testmesh_shared::net::NetPolicy;

use crate::run::{Setting, fails, passed, run_steps_in};
use crate::server::{PATIENCE, Server, inline};
use testmesh_runner::plugins::guest::{EXCHANGE, FOREVER, Guest, READ, REQUEST};

/// How soon a plugin that never ends is stopped.
const SOON: Duration = Duration::from_secs(5);

fn folder(guests: &[(&str, Guest<'_>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, guest) in guests {
        guest.write(folder.path(), name);
    }
    folder
}

fn open(folder: &Path) -> Setting {
    granted(folder, Grants::All)
}

fn granted(folder: &Path, grants: Grants) -> Setting {
    Setting { plugins: Plugins::in_folder(folder, grants, None).unwrap(), ..Setting::default() }
}

fn only(grants: &[&str]) -> Grants {
    Grants::Only(grants.iter().map(|grant| grant.parse().unwrap()).collect())
}

#[tokio::test]
async fn what_a_plugin_gives_back_is_the_result() {
    let folder = folder(&[
        ("echo", Guest::default()),
        (
            "listed",
            Guest {
                run: "(i32.store (i32.const 160) (i32.const 0x5d315b)) (call $ok (i32.const 160) (i32.const 3))",
                ..Guest::default()
            },
        ),
    ]);
    let steps = r#"
- id: said
  action: plugin.echo
  config: {text: "a \"b\" ü", number: 2.5, big: 9007199254740993, list: [1, null, true], map: {x: {y: z}}}
  assert: [text == 'a "b" ü', number == 2.5, big == 9007199254740993, "len(list) == 3", map.x.y == 'z']
  output: {y: $.map.x.y}
- action: plugin.echo.echo
  config: {before: "${y}", whole: "${said.map}"}
  assert: [before == 'z', whole.x.y == 'z']
- action: plugin.echo
  assert: [len(keys(result)) == 0]
- action: plugin.listed
  assert: ["value == [1]"]
  output: {first: "$[0]"}
- action: assert
  config: {assert: "first == 1"}
"#;
    let records = run_steps_in(steps, open(folder.path())).await;
    passed(&records);
    assert_eq!(records[0].request.as_ref().unwrap()["version"], "1.2.3");
}

#[tokio::test]
async fn what_a_plugin_fails_with_is_the_steps_error() {
    let fail = "(call $fail (i32.sub (i32.load8_u (i32.add (local.get $config) (i32.const 8))) (i32.const 48)) (local.get $config) (local.get $n_config))";
    let folder = folder(&[("fail", Guest { run: fail, ..Guest::default() })]);
    let kinds = [
        ErrorKind::Config,
        ErrorKind::Connection,
        ErrorKind::Protocol,
        ErrorKind::Timeout,
        ErrorKind::Policy,
        ErrorKind::Assertion,
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let steps = format!("- {{action: plugin.fail, config: {{kind: {number}}}}}");
        let records = run_steps_in(&steps, open(folder.path())).await;
        fails(&records[0], kind, &format!("{{\"kind\":{number}}}"));
        let status = if kind == ErrorKind::Assertion { StepStatus::Failed } else { StepStatus::Error };
        assert_eq!(records[0].status, status);
    }
}

#[tokio::test]
async fn a_configuration_is_checked_by_the_plugins_own_schema() {
    let schema = r#"{"type": "object", "required": ["values"], "properties": {"values": {"type": "array", "items": {"type": "number"}}}, "additionalProperties": false}"#;
    let folder = folder(&[("sums", Guest { actions: &[("add", schema), ("none", "{}")], ..Guest::default() })]);
    let steps = "- {action: plugin.sums.add, config: {values: [1, 2.5]}}\n\
                 - {action: plugin.sums.none, config: {word: one}, output: {word: $.word}}\n\
                 - {action: plugin.sums.add, config: {values: [1, \"${word}\"]}}\n\
                 - {action: plugin.sums.add, config: {values: \"${word}\"}}\n\
                 - {action: plugin.sums.adds, config: {}}\n\
                 - {action: plugin.sums, config: {}}\n\
                 - {action: plugin.sum.add, config: {}}\n";
    let records = run_steps_in(steps, open(folder.path())).await;
    passed(&records[..2]);
    fails(&records[2], ErrorKind::Config, "`config.values.1`: want number, but got string");
    fails(&records[3], ErrorKind::Config, "`config.values`: want array, but got string");
    fails(&records[4], ErrorKind::Config, "the plugin `sums` has no action `adds`: did you mean `add`?");
    fails(&records[5], ErrorKind::Config, "write one of `plugin.sums.add`, `plugin.sums.none`");
    fails(&records[6], ErrorKind::Config, "no plugin is called `sum`: did you mean `sums`?");
}

#[test]
fn validation_finds_what_is_wrong_with_steps_of_plugins() {
    let schema = r#"{"type": "object", "required": ["values"], "properties": {"values": {"type": "array", "items": {"type": "number"}}, "round": {"type": "integer"}}, "additionalProperties": false}"#;
    let folder = folder(&[("sums", Guest { actions: &[("add", schema)], ..Guest::default() })]);
    let check = |plugins: &Plugins, step: &str, expect: &[(u32, u32, &str, &str)]| {
        let text = format!("name: test\nsteps:\n  - {step}\n");
        let options = ParseOptions { plugins: plugins.clone(), ..ParseOptions::default() };
        let found = Flow::parse(&text, &options).diagnostics;
        let found: Vec<_> = found
            .iter()
            .map(|found| {
                (
                    found.line,
                    found.column,
                    found.code.as_str(),
                    format!("{}; {}", found.message, found.help.as_deref().unwrap_or("")),
                )
            })
            .collect();
        let found: Vec<_> =
            found.iter().map(|(line, column, code, text)| (*line, *column, *code, text.as_str())).collect();
        assert_eq!(found, expect, "{step}");
    };
    let plugins = Plugins::in_folder(folder.path(), Grants::All, None).unwrap();
    let here = |step: &str, expect: &[(u32, u32, &str, &str)]| check(&plugins, step, expect);
    here("{action: plugin.sums, config: {values: [1]}}", &[]);
    here("{action: plugin.sums.add, config: {values: [1, \"${env.X}\"], round: \"${env.N}\"}}", &[]);
    here(
        "{action: plugin.sums, config: {values: [1, x]}}",
        &[(3, 48, "wrong_type", "`config.values.1`: want number, but got string; ")],
    );
    here(
        "{action: plugin.sums, config: {round: 1}}",
        &[(3, 27, "missing_key", "`config`: missing properties 'values'; ")],
    );
    here("{action: plugin.sums}", &[(3, 14, "missing_key", "`config`: missing properties 'values'; ")]);
    here(
        "{action: plugin.sums, config: {values: [], roud: 1}}",
        &[(3, 48, "unknown_key", "`roud` means nothing to the plugin; did you mean `round`?")],
    );
    here("{action: plugin.sms}", &[(3, 14, "unknown_action", "no plugin is called `sms`; did you mean `sums`?")]);
    here(
        "{action: plugin.sums.adds}",
        &[(3, 14, "unknown_action", "the plugin `sums` has no action `adds`; did you mean `add`?")],
    );
    here(
        "{action: plugin}",
        &[(3, 14, "unknown_action", "`plugin` alone names no plugin; write `plugin.NAME`, or `plugin.NAME.ACTION`")],
    );
    check(
        &Plugins::none(),
        "{action: plugin.sums}",
        &[(
            3,
            14,
            "action_not_available",
            "no plugins are loaded here; name the folder with their files by `--plugin-dir` (TESTMESH_PLUGIN_DIR)",
        )],
    );
    check(&Plugins::elsewhere(), "{action: plugin.whatever.there, config: {is: elsewhere}}", &[]);
}

#[tokio::test]
async fn requests_need_the_capability_and_obey_the_network_policy() {
    let routes =
        Router::new().route(
            "/",
            get(|headers: HeaderMap| async move {
                format!("{{\"trace\": {:?}}}", headers["traceparent"].to_str().unwrap())
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = axum::serve(listener, routes).into_future();
    let folder = folder(&[
        ("asks", Guest { asks: &["http"], run: REQUEST, ..Guest::default() }),
        ("silent", Guest { run: REQUEST, ..Guest::default() }),
    ]);
    let checks = async {
        let step = |name: &str, url: &str| format!("- {{action: plugin.{name}, config: {{url: \"{url}\"}}}}");
        let records = run_steps_in(&step("asks", &url), granted(folder.path(), only(&["asks=http"]))).await;
        passed(&records);
        let trace = records[0].response.as_ref().unwrap()["trace"].as_str().unwrap().to_owned();
        assert!(trace.starts_with("00-0123456789abcdef0123456789abcdef-"), "{trace}");

        let records = run_steps_in(&step("asks", &url), granted(folder.path(), only(&["asks=files"]))).await;
        fails(
            &records[0],
            ErrorKind::Policy,
            "the plugin `asks` asks for the capability `http`, which it is not granted: whoever runs TestMesh can grant it by `--plugin-allow asks=http`",
        );
        let records = run_steps_in(&step("silent", &url), open(folder.path())).await;
        fails(
            &records[0],
            ErrorKind::Policy,
            "the plugin `silent` does not ask for the capability `http` and lacks it",
        );

        let policy = NetPolicy::server(&[]).with_denied("127.0.0.0/8").unwrap();
        let records = run_steps_in(&step("asks", &url), Setting { policy, ..open(folder.path()) }).await;
        fails(&records[0], ErrorKind::Policy, "127.0.0.1");
        let records = run_steps_in(&step("asks", "ftp://there/"), open(folder.path())).await;
        fails(&records[0], ErrorKind::Config, "only `http` and `https` are supported");
        let records = run_steps_in(&step("asks", "http://127.0.0.1:1/"), open(folder.path())).await;
        fails(&records[0], ErrorKind::Connection, "`http://127.0.0.1:1/`: ");
    };
    tokio::select! {
        _ = server => panic!("the server ended"),
        () = checks => {}
    }
}

#[tokio::test]
async fn connections_need_the_capability_and_obey_the_network_policy() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let run = EXCHANGE.replace("PORT", &listener.local_addr().unwrap().port().to_string());
    let echo = async {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (mut incoming, mut outgoing) = socket.split();
            tokio::io::copy(&mut incoming, &mut outgoing).await.unwrap();
        }
    };
    let folder = folder(&[
        ("asks", Guest { asks: &["tcp"], run: &run, ..Guest::default() }),
        ("silent", Guest { run: &run, ..Guest::default() }),
        ("refused", Guest { asks: &["tcp"], run: &EXCHANGE.replace("PORT", "1"), ..Guest::default() }),
        (
            "stray",
            Guest {
                asks: &["tcp"],
                run: "(call $receive (i32.const 77) (i32.const 1) (i32.const 128)) (i32.const 0)",
                ..Guest::default()
            },
        ),
    ]);
    let step = |name: &str| format!("- {{action: plugin.{name}, config: {{said: hello}}, assert: said == 'hello'}}");
    let checks = async {
        passed(&run_steps_in(&step("asks"), granted(folder.path(), only(&["asks=tcp"]))).await);
        let policy = NetPolicy::server(&[]).with_denied("127.0.0.0/8").unwrap();
        let records = run_steps_in(&step("asks"), Setting { policy, ..open(folder.path()) }).await;
        fails(&records[0], ErrorKind::Policy, "127.0.0.1");
        for (name, kind, part) in [
            ("silent", ErrorKind::Policy, "the plugin `silent` does not ask for the capability `tcp` and lacks it"),
            ("refused", ErrorKind::Connection, "127.0.0.1:1"),
            ("stray", ErrorKind::Protocol, "the plugin `stray` failed: "),
        ] {
            fails(&run_steps_in(&step(name), open(folder.path())).await[0], kind, part);
        }
    };
    tokio::select! {
        () = echo => panic!("the server ended"),
        () = checks => {}
    }
}

#[tokio::test]
async fn files_need_the_capability_and_obey_the_file_policy() {
    let folder = folder(&[
        ("asks", Guest { asks: &["files"], run: READ, ..Guest::default() }),
        ("silent", Guest { run: READ, ..Guest::default() }),
    ]);
    std::fs::create_dir(folder.path().join("flows")).unwrap();
    std::fs::write(folder.path().join("flows/rows.json"), "{\"rows\": 3}").unwrap();
    std::fs::write(folder.path().join("other.json"), "{}").unwrap();
    let root = folder.path().join("flows");
    let files = Files { base: root.clone(), root: Some(root), enabled: true };
    let check = async |name: &str, path: &str, files: &Files| {
        let steps = format!("- {{action: plugin.{name}, config: {{path: {path}}}, assert: rows == 3}}");
        let setting = Setting { files: files.clone(), ..granted(folder.path(), only(&["asks=files"])) };
        run_steps_in(&steps, setting).await.remove(0)
    };
    passed(&[check("asks", "rows.json", &files).await]);
    fails(&check("asks", "../other.json", &files).await, ErrorKind::Policy, "it is outside the folder flows may read");
    fails(&check("asks", "none.json", &files).await, ErrorKind::Config, "cannot read `none.json`");
    fails(&check("asks", "rows.json", &Files::none()).await, ErrorKind::Policy, "this server lets flows read no files");
    fails(&check("silent", "rows.json", &files).await, ErrorKind::Policy, "does not ask for the capability `files`");
}

#[tokio::test]
async fn lines_that_a_plugin_writes_are_the_steps_log() {
    let log = "(call $log (i32.const 2) (local.get $config) (local.get $n_config)) (call $ok (local.get $config) (local.get $n_config))";
    let folder = folder(&[("log", Guest { run: log, ..Guest::default() })]);
    let records = run_steps_in("- {action: plugin.log, config: {x: 1}}", open(folder.path())).await;
    passed(&records);
    let said: Vec<_> = records[0].logs.iter().map(|line| (line.level.as_str(), line.message.as_str())).collect();
    assert_eq!(said, [("warn", "{\"x\":1}")]);
}

#[tokio::test]
async fn a_plugin_that_crashes_is_an_error_of_its_step() {
    let folder = folder(&[
        ("trap", Guest { run: "(unreachable)", ..Guest::default() }),
        ("wild", Guest { run: "(i32.load (i32.const -8))", ..Guest::default() }),
        (
            "deep",
            Guest {
                run: "(call $deep (i32.const 0)) (call $ok (i32.const 0) (i32.const 0))) (func $deep (param i32) (call $deep (local.get 0))",
                ..Guest::default()
            },
        ),
        (
            "hog",
            Guest {
                run: "(loop $more (drop (memory.grow (i32.const 160))) (br $more)) (unreachable)",
                ..Guest::default()
            },
        ),
        (
            "noise",
            Guest {
                run: "(i32.store8 (i32.const 160) (i32.const 123)) (call $ok (i32.const 160) (i32.const 1))",
                ..Guest::default()
            },
        ),
        ("lost", Guest { run: "(call $ok (i32.const -8) (i32.const 1))", ..Guest::default() }),
        ("echo", Guest::default()),
    ]);
    let steps: String = ["trap", "wild", "deep", "hog", "noise", "lost", "echo"]
        .map(|name| format!("- {{action: plugin.{name}}}\n"))
        .concat();
    let records = run_steps_in(&steps, open(folder.path())).await;
    let parts = [
        "the plugin `trap` crashed: wasm trap: wasm `unreachable` instruction executed",
        "the plugin `wild` crashed: wasm trap: out of bounds memory access",
        "the plugin `deep` crashed: wasm trap: call stack exhausted",
        "the plugin `hog` was stopped: it needs more than 256 MiB of memory",
        "the plugin `noise` gave a result that is not JSON",
        "the plugin `lost` ",
    ];
    for (record, part) in records.iter().zip(parts) {
        fails(record, ErrorKind::Protocol, part);
    }
    passed(&records[6..]);
}

#[tokio::test]
async fn a_plugin_that_never_ends_is_stopped_by_time_and_by_cancellation() {
    // One thread, so that the plugin would hold up everything else if it kept it.
    let folder = folder(&[("forever", Guest { run: FOREVER, ..Guest::default() })]);
    let setting = open(folder.path());
    setting.plugins.describe("forever").unwrap();
    let since = Instant::now();
    let steps = "- {action: plugin.forever, timeout: 100ms, config: {timeout: 1h}}";
    let records = run_steps_in(steps, Setting { plugins: setting.plugins.clone(), ..Setting::default() }).await;
    fails(&records[0], ErrorKind::Timeout, "took longer than its time-out of 100ms");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());

    let since = Instant::now();
    let cancel = setting.cancel.clone();
    let steps = "- {action: plugin.forever, timeout: 1h}";
    let running = run_steps_in(steps, setting);
    let (records, ()) = tokio::join!(running, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    });
    assert_eq!(records[0].status, StepStatus::Cancelled, "{:#?}", records[0]);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[tokio::test]
async fn what_is_no_plugin_is_told_with_its_reason() {
    let module = wat::parse_str("(module)").unwrap();
    // An empty component: a header, and nothing.
    let component = *b"\0asm\x0d\0\x01\0";
    let folder = folder(&[
        ("traps", Guest { describing: "(unreachable)", ..Guest::default() }),
        ("greedy", Guest { asks: &["http", "gpu"], ..Guest::default() }),
        ("idle", Guest { actions: &[], ..Guest::default() }),
        ("twice", Guest { actions: &[("a", "{}"), ("a", "{}")], ..Guest::default() }),
        ("dotted", Guest { actions: &[("a.b", "{}")], ..Guest::default() }),
        ("vague", Guest { actions: &[("a", "{type")], ..Guest::default() }),
        ("odd", Guest { actions: &[("a", "{\"type\": 7}")], ..Guest::default() }),
        ("nosy", Guest { actions: &[("a", "{\"$ref\": \"file:///etc/passwd\"}")], ..Guest::default() }),
    ]);
    for (name, contents) in [("garbage", &b"not wasm"[..]), ("empty", b""), ("module", &module), ("other", &component)]
    {
        std::fs::write(folder.path().join(format!("{name}.wasm")), contents).unwrap();
    }
    let plugins = Plugins::in_folder(folder.path(), Grants::All, None).unwrap();
    for (name, part) in [
        ("garbage", "its file is no WebAssembly component: "),
        ("empty", "its file is no WebAssembly component: "),
        ("module", "its file is no WebAssembly component: "),
        ("other", "it does not fit `testmesh:plugin@1.0.0`: "),
        ("traps", "asked what it is, it crashed: wasm trap: wasm `unreachable` instruction executed"),
        ("greedy", "of what it asks for, no capability is called `gpu`: there are `files`, `http`, `tcp`"),
        ("idle", "it has no action"),
        ("twice", "it has two actions called `a`"),
        ("dotted", "`a.b` cannot be the name of an action"),
        ("vague", "the schema of its action `a` is not JSON: "),
        ("odd", "of its action `a` the schema is not valid: "),
        ("nosy", "error loading file:///etc/passwd"),
    ] {
        let error = plugins.describe(name).unwrap_err();
        assert!(matches!(error, PluginError::Unusable { .. }) && error.to_string().contains(part), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_plugin_is_read_again_when_its_file_changes() {
    let folder = folder(&[("changing", Guest::default())]);
    let plugins = Plugins::in_folder(folder.path(), Grants::All, None).unwrap();
    assert_eq!(plugins.describe("changing").unwrap().actions[0].name, "echo");
    Guest { actions: &[("another", "{}")], ..Guest::default() }.write(folder.path(), "changing");
    assert_eq!(plugins.describe("changing").unwrap().actions[0].name, "another");
    std::fs::remove_file(folder.path().join("changing.wasm")).unwrap();
    assert_eq!(plugins.describe("changing").unwrap_err().to_string(), "no plugin is called `changing`");
}

#[tokio::test]
async fn no_call_sees_what_another_left_and_nothing_is_left_of_a_thousand() {
    // Counts its calls in a global, and takes 4 MiB that it writes to.
    let counting = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (drop (memory.grow (i32.const 64)))
        (memory.fill (i32.const 262144) (i32.const 1) (i32.const 4194304))
        (i32.store8 (i32.const 160) (i32.add (global.get $calls) (i32.const 48)))
        (call $ok (i32.const 160) (i32.const 1))";
    let folder = folder(&[("counting", Guest { run: counting, ..Guest::default() })]);
    let setting = || open(folder.path());
    let plugins = setting().plugins;
    let before = resident();
    for _ in 0..10 {
        let steps: String = "- {action: plugin.counting, assert: value == 1}\n".repeat(10);
        let runs = (0..10).map(|_| run_steps_in(&steps, Setting { plugins: plugins.clone(), ..Setting::default() }));
        for records in join_all(runs).await {
            assert_eq!(records.len(), 10);
            passed(&records);
        }
    }
    // A thousand instances that stay would have 4 GiB.
    assert!(resident() < before + (1 << 30), "{before} before, {} after", resident());
}

/// A server with one thread, which has to open the other end of the pipe that the plugin is read from.
#[cfg(unix)]
#[test]
fn a_server_goes_on_while_it_waits_for_a_plugin() {
    let (told, hears) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("piped.wasm");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let refused = runtime.block_on(async {
            let plugins = Plugins::in_folder(folder.path(), Grants::All, None).unwrap();
            let server = Server::with_plugins(&folder.path().join("data"), plugins).await;
            let submit = server.refused(inline("name: a\nsteps:\n  - {action: plugin.piped}\n"));
            let mut writing = tokio::fs::OpenOptions::new();
            let (refused, opened) = tokio::join!(biased; submit, writing.write(true).open(&pipe));
            opened.unwrap();
            refused
        });
        let _ = told.send(refused);
    });
    let refused = hears.recv_timeout(PATIENCE).expect("the server goes on");
    assert!(format!("{refused:?}").contains("it is not a regular file"), "{refused:?}");
}

/// The memory of this process, in bytes; 0 where that cannot be told.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
