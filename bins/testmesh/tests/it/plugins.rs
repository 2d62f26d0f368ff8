//! Plugins from the command line.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

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

/// The compiled plugins that are kept in a folder. What has a suffix is about them.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries(&folder.join("compiled-plugins/modules")).flat_map(|version| entries(&version));
    files.filter(|file| file.extension().is_none()).collect()
}

#[test]
fn what_one_run_compiled_the_next_one_reads() {
    let folder = folder();
    let run = || folder.run(&["run", "good.yaml", "--plugin-dir", "plugins", "--plugin-cache", "kept"]).expect_code(0);
    run();
    let files = kept(&folder.path("kept"));
    assert_eq!(files.len(), 1);
    let modified = || files[0].metadata().expect("the file").modified().expect("its time");
    std::fs::File::options()
        .write(true)
        .open(&files[0])
        .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
        .expect("set its time");
    run();
    assert_eq!(modified(), SystemTime::UNIX_EPOCH, "it was written again");
    std::fs::write(&files[0], "no machine code").expect("write the file");
    run();
    assert_ne!(std::fs::read(&files[0]).expect("read the file"), b"no machine code");
}

#[test]
fn compiled_plugins_are_kept_in_the_users_folder() {
    let folder = folder();
    folder.write("plain.yaml", "name: plain\nsteps:\n  - {action: log, config: {message: hi}}\n");
    let run = |flow: &str, variables: &[(&str, PathBuf)], more: &[&str]| {
        let mut command = folder.command(&["run", flow, "--plugin-dir", "plugins"]);
        command.args(more).envs(variables.iter().map(|(name, value)| (*name, value)));
        assert!(command.output().expect("start the program").status.success());
    };
    let (home, caches) = (folder.path("home"), folder.path("caches"));
    let variables = [("HOME", home.clone()), ("XDG_CACHE_HOME", caches.clone())];
    run("plain.yaml", &variables, &[]);
    run("good.yaml", &variables, &["--plugin-cache", "off"]);
    assert!(!home.exists() && !caches.exists() && !folder.path("off").exists());
    run("good.yaml", &variables, &[]);
    assert!(!home.exists() && kept(&caches.join("testmesh")).len() == 1);
    run("good.yaml", &[("HOME", home.clone()), ("XDG_CACHE_HOME", "relative".into())], &[]);
    assert!(!folder.path("relative").exists() && kept(&home.join(".cache/testmesh")).len() == 1);
    // A home that is no folder, and none at all.
    run("good.yaml", &[("HOME", folder.path("a.json"))], &[]);
    run("good.yaml", &[], &[]);
}
