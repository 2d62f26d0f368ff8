//! Compiled plugins are kept in a folder for other processes, as long as nobody else can get there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use testmesh_runner::plugins::guest::Guest;
use testmesh_runner::plugins::{Grants, Plugins};

use crate::run::{Setting, passed, run_steps_in};

/// A folder with the plugins `first` and `second`, each with an action of that name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["first", "second"] {
        Guest { actions: &[(name, "{}")], ..Guest::default() }.write(folder.path(), name);
    }
    folder
}

/// As a process of its own would have them.
fn plugins(folder: &Path, cache: &Path) -> Plugins {
    Plugins::in_folder(folder, Grants::All, Some(cache)).unwrap()
}

fn action(plugins: &Plugins, name: &str) -> String {
    plugins.describe(name).unwrap().actions.remove(0).name
}

/// The compiled plugins that are kept. What has a suffix is about them.
fn kept(cache: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![cache.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none() {
                found.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn what_was_compiled_before_is_not_compiled_again() {
    let (folder, cache) = (folder(), tempfile::tempdir().unwrap());
    let plugins = |cache: &Path| plugins(folder.path(), cache);
    action(&plugins(cache.path()), "first");
    let first = kept(cache.path());
    assert_eq!(first.len(), 1);
    action(&plugins(cache.path()), "second");
    let mut second = kept(cache.path());
    second.retain(|path, _| !first.contains_key(path));
    // What is kept of one plugin in the place of another shows which of them is used: compiled anew it would be itself.
    std::fs::write(second.keys().next().unwrap(), first.values().next().unwrap()).unwrap();
    assert_eq!(action(&plugins(cache.path()), "second"), "first");
    assert_eq!(action(&plugins(&cache.path().join("another")), "second"), "second");
}

#[test]
fn what_cannot_be_read_back_is_compiled_and_kept_again() {
    let (folder, cache) = (folder(), tempfile::tempdir().unwrap());
    action(&plugins(folder.path(), cache.path()), "first");
    let good = kept(cache.path());
    let (path, whole) = good.first_key_value().unwrap();
    for broken in [&b""[..], b"no machine code", &whole[..whole.len() / 2], &whole[1..]] {
        std::fs::write(path, broken).unwrap();
        assert_eq!(action(&plugins(folder.path(), cache.path()), "first"), "first");
        assert_eq!(kept(cache.path()), good);
    }
}

#[test]
fn what_a_process_left_unfinished_is_not_in_the_way() {
    let (folder, cache) = (folder(), tempfile::tempdir().unwrap());
    action(&plugins(folder.path(), cache.path()), "first");
    let good = kept(cache.path());
    let path = good.first_key_value().unwrap().0;
    let unfinished = path.with_extension("wip-atomic-write-mod");
    let file = std::fs::File::create(&unfinished).unwrap();
    std::fs::remove_file(path).unwrap();
    // Another process may be writing it just now.
    action(&plugins(folder.path(), cache.path()), "first");
    assert!(kept(cache.path()).is_empty() && unfinished.exists());
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    action(&plugins(folder.path(), cache.path()), "first");
    assert!(kept(cache.path()) == good && !unfinished.exists());
}

#[test]
fn nothing_is_made_before_a_plugin_is_compiled() {
    let (folder, parent) = (folder(), tempfile::tempdir().unwrap());
    let cache = parent.path().join("cache");
    let plugins = plugins(folder.path(), &cache);
    plugins.names().unwrap();
    plugins.describe("third").unwrap_err();
    assert!(!cache.exists());
    plugins.describe("first").unwrap();
    assert!(cache.exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_no_failure() {
    let folder = folder();
    let file = folder.path().join("first.wasm");
    for cache in [file.clone(), file.join("below")] {
        let setting = Setting { plugins: plugins(folder.path(), &cache), ..Setting::default() };
        passed(&run_steps_in("- {action: plugin.first, config: {a: 1}, assert: a == 1}", setting).await);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_can_get_into_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;

    let (folder, cache) = (folder(), tempfile::tempdir().unwrap());
    let inner = cache.path().join("compiled-plugins");
    let mode = |mode| std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(mode)).unwrap();
    action(&plugins(folder.path(), cache.path()), "first");
    assert_eq!(inner.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let before = kept(cache.path());
    assert_eq!(before.len(), 1);
    for open in [0o770, 0o702, 0o711] {
        mode(open);
        assert_eq!(action(&plugins(folder.path(), cache.path()), "second"), "second");
        assert_eq!(kept(cache.path()), before);
    }
    mode(0o700);
    action(&plugins(folder.path(), cache.path()), "second");
    assert_eq!(kept(cache.path()).len(), 2);
}
