//! Starts the program in a folder of its own and reads what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder with flow files, gone at the end of the test.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for the test") }
    }

    /// A folder with these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    /// Writes a file, and the folders it is in.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("make its folder");
        std::fs::write(path, text).expect("write the file");
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
    }

    /// Where a file is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, to be started here. Nothing of the tester's own settings reaches it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        command(self.folder.path(), arguments)
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().expect("start the program");
        Said::of(&output)
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testmesh"));
    command.current_dir(folder).args(arguments).env_clear().stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Said {
    /// From its output.
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout.clone()).expect("output is UTF-8"),
            err: String::from_utf8(output.stderr.clone()).expect("complaints are UTF-8"),
        }
    }

    /// Panics with all that was said unless the program ended so.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// `text` with what differs from run to run replaced: times become `N ms`, ids become `ID`.
pub(crate) fn filtered(text: &str) -> String {
    let mut filtered = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.trim_start().starts_with("date: ")) {
        let words = line.split(' ').collect::<Vec<_>>();
        for (place, word) in words.iter().enumerate() {
            let unit = words.get(place + 1).map(|next| next.trim_end_matches([')', ':', ',']));
            let digits = word.trim_start_matches('(');
            let is_time = matches!(unit, Some("ms" | "s")) && digits.parse::<f64>().is_ok();
            let is_id = word.len() >= 36 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            if place > 0 {
                filtered.push(' ');
            }
            if is_time {
                filtered.push_str(&word[..word.len() - digits.len()]);
                filtered.push('N');
            } else if is_id {
                filtered.push_str("ID");
            } else {
                filtered.push_str(word);
            }
        }
        filtered.push('\n');
    }
    filtered
}
