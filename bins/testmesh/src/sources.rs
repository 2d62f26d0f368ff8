//! Which files are meant: arguments that name files, folders and globs, made a list of flow files.
//!
//! A file named by itself is always in the list. In a folder only those files are taken that look like a flow, so that
//! a `docker-compose.yaml` beside the flows is not a failed test.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobBuilder;
use testmesh_runner::diagnostic::Diagnostic;
use testmesh_runner::flow::{Flow, ParseOptions};

use crate::exit::Stop;
use crate::spread;

/// Bytes of memory that are kept for the next file.
const MOST_KEPT: usize = 1 << 20;

/// A flow file and its text.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The path as it is shown.
    pub(crate) shown: String,
    /// The path.
    pub(crate) path: PathBuf,
    /// What is in it, or why it cannot be read.
    pub(crate) text: Result<Arc<str>, Unread>,
}

/// Why there is no text.
#[derive(Debug, Clone)]
pub(crate) struct Unread {
    /// In one sentence, a fragment.
    pub(crate) reason: String,
    /// Where it is about a place in the file.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Source {
    /// The folder that the flow's relative paths start from.
    pub(crate) fn folder(&self) -> PathBuf {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }
}

/// A file that was asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Looked into already.
    Read(Source),
    /// Named by itself.
    Named(PathBuf),
    /// Found in a folder: it may hold no flow.
    Found(PathBuf),
}

impl Asked {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Asked::Read(source) => &source.path,
            Asked::Named(path) | Asked::Found(path) => path,
        }
    }

    /// What is in it; none when it is no flow.
    pub(crate) fn source(&self) -> Option<Source> {
        match self {
            Asked::Read(source) => Some(source.clone()),
            Asked::Named(path) => read(path, |_| true),
            Asked::Found(path) => read(path, looks_like_a_flow),
        }
    }
}

/// Reads every file that `arguments` name, each once, in the order named (folders and globs by path).
pub(crate) fn collect(arguments: &[String]) -> Result<Vec<Source>, Stop> {
    let asked = list(arguments)?;
    Ok(spread::map(&asked, Asked::source).into_iter().flatten().collect())
}

/// Finds every file that `arguments` name, each once, in the same order. Of each folder and glob it is known that it
/// holds a flow; the other files are not looked into.
pub(crate) fn list(arguments: &[String]) -> Result<Vec<Asked>, Stop> {
    let mut seen = Seen::default();
    let mut asked = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        let found = if path.is_dir() {
            yaml_files(path)?
        } else if path.exists() || !argument.contains(['*', '?', '[', '{']) {
            if !path.exists() {
                return Err(Stop::input(format!("no file or folder `{argument}`")));
            }
            if arguments.len() == 1 || seen.is_new(path, false) {
                asked.push(Asked::Named(path.to_path_buf()));
            }
            continue;
        } else {
            matching(argument)?
        };
        // What one folder holds differs, unless there are links among it.
        let distinct = arguments.len() == 1 && found.iter().all(|file| file.plain);
        let mut new = found.into_iter().filter(|file| distinct || seen.is_new(&file.path, file.plain));
        let Some(first) = new.find_map(|file| read(&file.path, looks_like_a_flow)) else {
            return Err(Stop::input(format!("no flow file in `{argument}`")));
        };
        asked.push(Asked::Read(first));
        asked.extend(new.map(|file| Asked::Found(file.path)));
    }
    Ok(asked)
}

/// A file found in a folder.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    /// Whether it is a file itself, and no link to one.
    plain: bool,
}

/// The files that were taken already, by their true paths.
#[derive(Debug, Default)]
struct Seen {
    files: HashSet<PathBuf>,
    /// The true path of each folder, so that it is found out once and not for each of its files.
    folders: HashMap<PathBuf, PathBuf>,
}

impl Seen {
    /// Whether the file is met for the first time; `plain` when it is known to be no link.
    fn is_new(&mut self, path: &Path, plain: bool) -> bool {
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let identity = match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) if plain && !folder.as_os_str().is_empty() => {
                if !self.folders.contains_key(folder) {
                    self.folders.insert(folder.to_path_buf(), canonical(folder));
                }
                self.folders[folder].join(name)
            }
            _ => canonical(path),
        };
        self.files.insert(identity)
    }
}

/// Reads a file; none when its text is not `wanted`.
fn read(path: &Path, wanted: fn(&str) -> bool) -> Option<Source> {
    let text = BUFFER.with_borrow_mut(|buffer| {
        let text = match contents(path, buffer) {
            Ok(bytes) => std::str::from_utf8(bytes).map(Arc::from).map_err(|_| {
                let diagnostics = Flow::parse_bytes(bytes, &ParseOptions::default()).diagnostics;
                Unread { reason: "it is not UTF-8 text".to_owned(), diagnostics }
            }),
            Err(error) => Err(Unread { reason: format!("it cannot be read: {error}"), diagnostics: Vec::new() }),
        };
        if buffer.len() > MOST_KEPT {
            *buffer = Vec::new();
        }
        text
    });
    if text.as_deref().is_ok_and(|text| !wanted(text)) {
        return None;
    }
    let shown = path.strip_prefix("./").unwrap_or(path).display().to_string();
    Some(Source { shown, path: path.to_path_buf(), text })
}

thread_local! {
    /// What a file is read into: most are small, so that none has to be asked for its size.
    static BUFFER: RefCell<Vec<u8>> = RefCell::default();
}

/// Everything in the file.
fn contents<'b>(path: &Path, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
    const LEAST_ROOM: usize = 8 << 10;
    let mut file = File::open(path)?;
    let mut length = 0;
    loop {
        if length == buffer.len() {
            buffer.resize(2 * length + LEAST_ROOM, 0);
        }
        match file.read(&mut buffer[length..]) {
            Ok(0) => return Ok(&buffer[..length]),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a top-level key of a flow stands at the beginning of a line.
fn looks_like_a_flow(text: &str) -> bool {
    const KEYS: [&str; 4] = ["flow", "steps", "setup", "teardown"];
    let is_key = |line: &str| {
        let line = line.trim_start_matches(['"', '\'']);
        KEYS.iter().any(|key| {
            line.strip_prefix(key).is_some_and(|rest| {
                let rest = rest.trim_start_matches(['"', '\'']).trim_start();
                rest.starts_with(':')
            })
        })
    };
    let text = text.trim_start_matches('\u{feff}');
    text.lines().any(is_key) || text.trim_start().strip_prefix('{').is_some_and(|rest| is_key(rest.trim_start()))
}

/// Every YAML file below a folder, hidden folders left out, sorted by path.
fn yaml_files(folder: &Path) -> Result<Vec<Found>, Stop> {
    let mut files = Vec::new();
    walk(folder, &mut |file| {
        if matches!(file.path.extension().and_then(|extension| extension.to_str()), Some("yaml" | "yml")) {
            files.push(file);
        }
    })?;
    sort(&mut files);
    Ok(files)
}

/// Sorts as paths compare, name by name. Each path is taken apart once, and not for every comparison.
fn sort(files: &mut [Found]) {
    files.sort_by_cached_key(|file| -> Vec<u8> {
        // A separator comes before whatever else a name may go on with.
        let bytes = file.path.as_os_str().as_encoded_bytes().iter();
        bytes.map(|byte| if std::path::is_separator(char::from(*byte)) { 0 } else { *byte }).collect()
    });
}

fn walk(folder: &Path, found: &mut dyn FnMut(Found)) -> Result<(), Stop> {
    let unreadable = |error| Stop::input(format!("cannot read the folder `{}`: {error}", folder.display()));
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let kind = entry.file_type().map_err(unreadable)?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        // Links to folders are not followed: they may lead back here.
        if kind.is_dir() && !hidden {
            walk(&entry.path(), found)?;
        } else if !kind.is_dir() && !hidden {
            found(Found { path: entry.path(), plain: kind.is_file() });
        }
    }
    Ok(())
}

/// The files below the glob's fixed folder that match it, sorted by path.
fn matching(glob: &str) -> Result<Vec<Found>, Stop> {
    let invalid = |error| Stop::input(format!("`{glob}` is not a valid glob: {error}"));
    let matcher = GlobBuilder::new(glob.trim_start_matches("./"))
        .literal_separator(true)
        .build()
        .map_err(invalid)?
        .compile_matcher();
    let fixed: PathBuf = Path::new(glob)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']))
        .collect();
    let start = if fixed.as_os_str().is_empty() { PathBuf::from(".") } else { fixed };
    if !start.is_dir() {
        return Err(Stop::input(format!("no folder `{}`", start.display())));
    }
    let mut files = Vec::new();
    walk(&start, &mut |file| {
        if matcher.is_match(file.path.strip_prefix("./").unwrap_or(&file.path)) {
            files.push(file);
        }
    })?;
    sort(&mut files);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_told_from_other_yaml_by_its_top_level_keys() {
        for (text, flow) in [
            ("flow:\n  name: x\n", true),
            ("name: x\nsteps: []\n", true),
            ("\u{feff}flow: {}\n", true),
            ("{\"flow\": {}}", true),
            ("'steps' : []", true),
            ("services:\n  web:\n    steps: 3\n", false),
            ("flowers: 3\n", false),
            ("", false),
        ] {
            assert_eq!(looks_like_a_flow(text), flow, "{text:?}");
        }
    }

    #[test]
    fn files_are_sorted_as_their_paths_compare() {
        let names = ["b/a", "a.b/c", "a/z", "a-b/c", "a", "a/b/c", "ab", "a b/x", "ä", "a/b"];
        let mut files: Vec<Found> = names.iter().map(|name| Found { path: name.into(), plain: true }).collect();
        sort(&mut files);
        let mut expect: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        expect.sort();
        assert_eq!(files.into_iter().map(|file| file.path).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn folders_and_globs_give_each_flow_once_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("b.yaml", "flow: {}"),
            ("a.yml", "steps: []"),
            ("sub/c.yaml", "flow: {}"),
            ("compose.yaml", "services: {}"),
            (".git/d.yaml", "flow: {}"),
            ("note.txt", "flow: {}"),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let root = folder.path().to_str().expect("a UTF-8 path").to_owned();
        let names = |arguments: &[String]| -> Vec<String> {
            let sources = collect(arguments).map_err(|stop| stop.message).expect("files");
            sources.iter().map(|source| source.shown[root.len() + 1..].to_owned()).collect()
        };
        assert_eq!(names(std::slice::from_ref(&root)), ["a.yml", "b.yaml", "sub/c.yaml"]);
        assert_eq!(names(&[format!("{root}/**/*.yaml"), root.clone()]), ["b.yaml", "sub/c.yaml", "a.yml"]);
        assert_eq!(names(&[format!("{root}/*.yaml")]), ["b.yaml"]);
        assert_eq!(names(&[format!("{root}/compose.yaml")]), ["compose.yaml"], "named by itself");
        assert!(collect(&[format!("{root}/none.yaml")]).is_err());
        assert!(collect(&[format!("{root}/*.json")]).is_err());
    }
}
