//! `cargo xtask bench engine`: the command line against a bare HTTP client that sends the same requests.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::measure::{Rounds, compare};
use super::table::{Figure, Goal};
use super::{Options, Programs, target};

/// Runs every case.
pub(super) async fn run(options: &Options, programs: &Programs) -> Result<Vec<Figure>, String> {
    let address = target::serve().await.map_err(|error| format!("start the target: {error}"))?;
    let base = format!("http://{address}");
    let folder = tempfile::tempdir().map_err(|error| format!("make a folder for the flows: {error}"))?;
    let cases = Cases { programs: programs.clone(), base, folder: folder.path().to_owned(), quick: options.quick };
    tokio::task::spawn_blocking(move || cases.measure()).await.map_err(|error| format!("measure: {error}"))?
}

struct Cases {
    programs: Programs,
    base: String,
    folder: std::path::PathBuf,
    quick: bool,
}

impl Cases {
    fn measure(&self) -> Result<Vec<Figure>, String> {
        let mut figures = Vec::new();
        self.start_up(&mut figures)?;
        self.chain(&mut figures)?;
        self.many(&mut figures)?;
        self.waiting(&mut figures)?;
        self.big(&mut figures)?;
        Ok(figures)
    }

    fn start_up(&self, figures: &mut Vec<Figure>) -> Result<(), String> {
        let flow = self.write("one.yaml", &one_request("one request", &self.base))?;
        let [bare, ours] = self.pair(&["many", &self.base, "1", "1"], &["run", &flow], 61)?;
        figures.push(times("start-up plus one request", ours, bare, Goal::Ratio(2.0)));
        figures.push(memory("start-up plus one request, memory", ours, bare, Goal::AtMost(12.0)));
        Ok(())
    }

    fn chain(&self, figures: &mut Vec<Figure>) -> Result<(), String> {
        let flow = self.write("chain.yaml", &chain(&self.base, 100))?;
        let [bare, ours] = self.pair(&["chain", &self.base, "100"], &["run", &flow], 61)?;
        figures.push(times("100 chained requests, 2 assertions and 1 capture each", ours, bare, Goal::Ratio(1.3)));
        Ok(())
    }

    fn many(&self, figures: &mut Vec<Figure>) -> Result<(), String> {
        let files = self.folder.join("many");
        fs::create_dir(&files).map_err(|error| format!("make a folder: {error}"))?;
        for number in 0..1000 {
            let flow = one_request(&format!("flow {number}"), &self.base);
            fs::write(files.join(format!("flow-{number:04}.yaml")), flow).map_err(|error| format!("write: {error}"))?;
        }
        let files = files.display().to_string();
        let one_by_one = ["run", &files, "--parallel", "1"];
        let [bare, ours] = self.pair(&["many", &self.base, "1000", "1"], &one_by_one, 31)?;
        figures.push(times("1,000 one-request files, one after another", ours, bare, Goal::Ratio(1.5)));

        let (junit, html) = (self.folder.join("out.xml"), self.folder.join("out.html"));
        let reports = [format!("junit={}", junit.display()), format!("html={}", html.display())];
        let arguments = ["run", &files, "--parallel", "10", "--report", &reports[0], "--report", &reports[1]];
        let [bare, ours] = self.pair(&["many", &self.base, "1000", "10"], &arguments, 31)?;
        figures.push(times("1,000 files, ten at a time, JUnit and HTML", ours, bare, Goal::Ratio(2.0)));
        Ok(())
    }

    fn waiting(&self, figures: &mut Vec<Figure>) -> Result<(), String> {
        let files = self.folder.join("waiting");
        fs::create_dir(&files).map_err(|error| format!("make a folder: {error}"))?;
        for number in 0..20 {
            let flow = request_flow(&format!("wait {number}"), &format!("{}/slow", self.base), "");
            fs::write(files.join(format!("{number}.yaml")), flow).map_err(|error| format!("write: {error}"))?;
        }
        let files = files.display().to_string();
        let ours = self.ours(&["run", &files], 7)?;
        figures.push(Figure::new(
            "20 flows that wait 200 ms each",
            (ours.median.seconds * 1e3, "ms"),
            None,
            Goal::AtMost(250.0),
        ));
        Ok(())
    }

    fn big(&self, figures: &mut Vec<Figure>) -> Result<(), String> {
        let flow = format!(
            "flow:\n  name: big\n  steps:\n    - id: get\n      action: http_request\n      config:\n        method: GET\n        url: {}/big\n        max_body: 64MiB\n      assert:\n        - body.items[1000].id == 1000\n",
            self.base
        );
        let flow = self.write("big.yaml", &flow)?;
        let [bare, ours] = self.pair(&["big", &self.base], &["run", &flow], 7)?;
        figures.push(times("50 MB JSON reply, one assertion", ours, bare, Goal::AtMost(500.0)));
        figures.push(memory("50 MB JSON reply, memory", ours, bare, Goal::AtMost(120.0)));
        Ok(())
    }

    fn pair(&self, bare: &[&str], ours: &[&str], rounds: usize) -> Result<[Rounds; 2], String> {
        let commands = [command(&self.programs.bare_client, bare), command(&self.programs.testmesh, ours)];
        let taken = compare(&commands, self.rounds(rounds))?;
        Ok([taken[0], taken[1]])
    }

    fn ours(&self, arguments: &[&str], rounds: usize) -> Result<Rounds, String> {
        Ok(compare(&[command(&self.programs.testmesh, arguments)], self.rounds(rounds))?[0])
    }

    fn rounds(&self, rounds: usize) -> usize {
        if self.quick { rounds.div_ceil(6) } else { rounds }
    }

    fn write(&self, name: &str, text: &str) -> Result<String, String> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|error| format!("write `{}`: {error}", path.display()))?;
        Ok(path.display().to_string())
    }
}

pub(super) fn command(program: &Path, arguments: &[&str]) -> Vec<String> {
    let mut words = vec![program.display().to_string()];
    words.extend(arguments.iter().map(|&argument| argument.to_owned()));
    words
}

/// A ratio compares what both take at their best; a bar in milliseconds is for what to expect.
fn times(name: &str, ours: Rounds, bare: Rounds, goal: Goal) -> Figure {
    let seconds = |rounds: Rounds| match goal {
        Goal::Ratio(_) => rounds.least_seconds,
        Goal::AtMost(_) | Goal::AtLeast(_) | Goal::Shown => rounds.median.seconds,
    };
    Figure::new(name, (seconds(ours) * 1e3, "ms"), Some(seconds(bare) * 1e3), goal)
}

fn memory(name: &str, ours: Rounds, bare: Rounds, goal: Goal) -> Figure {
    Figure::new(name, (ours.median.mebibytes, "MiB"), Some(bare.median.mebibytes), goal)
}

fn one_request(name: &str, base: &str) -> String {
    request_flow(name, &format!("{base}/one"), "        - body.ok == true\n")
}

fn request_flow(name: &str, url: &str, more: &str) -> String {
    format!(
        "flow:\n  name: {name}\n  steps:\n    - id: get\n      action: http_request\n      config:\n        method: GET\n        url: {url}\n      assert:\n        - status == 200\n{more}"
    )
}

fn chain(base: &str, links: usize) -> String {
    let mut flow = format!("flow:\n  name: chain\n  env:\n    BASE: {base}\n  steps:\n");
    for link in 0..links {
        let path = if link == 0 { "0".to_owned() } else { format!("${{next_{}}}", link - 1) };
        let _ = write!(
            flow,
            "    - id: link_{link}\n      action: http_request\n      config:\n        method: GET\n        url: \"${{BASE}}/chain/{path}\"\n      assert:\n        - status == 200\n        - body.id == {link}\n      output:\n        next_{link}: $.body.next\n"
        );
    }
    flow
}
