//! Plugins from the command line.

use testmesh_runner::plugins::guest::{Guest, READ};

use crate::program::Folder;

const SCHEMA: &str =
    r#"{"type": "object", "required": ["text"], "additionalProperties": false, "properties": {"text": {}}}"#;

fn folder() -> Folder {
    let folder = Folder::with(&[
        ("good.yaml", "name: good\nsteps:\n  - {action: plugin.echo, config: {text: hi}, assert: text == 'hi'}\n"),
        ("bad.yaml", "name: bad\nsteps:\n  - {action: plugin.echo, config: {txt: hi}}\n  - {action: plugin.ecko}\n"),
        ("file.yaml", "name: file\nsteps:\n  - {action: plugin.reader.read, config: {path: a.json}, assert: a == 1}\n"),
        ("a.json", "{\"a\": 1}"),
        ("plugins/notes.txt", "no plugin"),
    ]);
    let plugins = folder.path("plugins");
    Guest { actions: &[("echo", SCHEMA)], ..Guest::default() }.write(&plugins, "echo");
    Guest { asks: &["files"], actions: &[("read", "{}"), ("none", "{}")], run: READ, ..Guest::default() }
        .write(&plugins, "reader");
    std::fs::write(plugins.join("broken.wasm"), "no plugin").expect("write the file");
    folder
}

#[test]
fn flows_use_the_plugins_of_the_folder() {
    let folder = folder();
    folder.run(&["run", "good.yaml", "file.yaml", "--plugin-dir", "plugins"]).expect_code(0);
    let said = folder.run(&["run", "good.yaml"]).expect_code(2);
    assert!(said.out.contains("no plugins are loaded here") && said.out.contains("--plugin-dir"), "{said:#?}");
    let mut command = folder.command(&["run", "good.yaml"]);
    assert!(command.env("TESTMESH_PLUGIN_DIR", "plugins").output().expect("start the program").status.success());
}

#[test]
fn plugins_get_what_they_ask_for_unless_something_else_is_said() {
    let folder = folder();
    let run = |grant: &str| folder.run(&["run", "file.yaml", "--plugin-dir", "plugins", "--plugin-allow", grant]);
    run("reader=files").expect_code(0);
    let said = run("reader=http").expect_code(2);
    assert!(said.out.contains("the plugin `reader` asks for the capability `files`"), "{said:#?}");
    let said = run("raeder=http").expect_code(2);
    assert!(said.err.contains("--plugin-allow: no plugin is called `raeder`; did you mean `reader`?"), "{said:#?}");
    let said = run("reader=file").expect_code(2);
    assert!(said.err.contains("no capability is called `file`"), "{said:#?}");
}

#[test]
fn validate_checks_steps_of_plugins() {
    let folder = folder();
    folder.run(&["validate", "good.yaml", "file.yaml", "--plugin-dir", "plugins"]).expect_code(0);
    let said = folder.run(&["validate", "bad.yaml", "--plugin-dir", "plugins"]).expect_code(2);
    for part in ["bad.yaml:3:36", "did you mean `text`?", "no plugin is called `ecko`", "did you mean `echo`?"] {
        assert!(said.out.contains(part), "`{part}`: {said:#?}");
    }
}

#[test]
fn actions_lists_plugins_and_shows_what_they_take() {
    let folder = folder();
    let said = folder.run(&["actions", "--plugin-dir", "plugins"]).expect_code(0);
    for part in ["plugin.echo ", "plugin.reader.read ", "plugin.broken ", "its file is no WebAssembly component"] {
        assert!(said.out.contains(part), "`{part}`: {}", said.out);
    }
    let said = folder.run(&["actions", "plugin.reader", "--plugin-dir", "plugins"]).expect_code(0);
    for part in ["# `plugin.reader`", "Version 1.2.3. It needs the capabilities `files`.", "## `plugin.reader.none`"] {
        assert!(said.out.contains(part), "`{part}`: {}", said.out);
    }
    let said = folder.run(&["actions", "plugin.raeder", "--plugin-dir", "plugins"]).expect_code(2);
    assert!(said.err.contains("did you mean `reader`?"), "{said:#?}");
    folder.run(&["actions", "echo", "--plugin-dir", "nowhere"]).expect_code(2);
}
