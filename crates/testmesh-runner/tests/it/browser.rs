//! `browser` in flows, with a real Chromium: pages that are used, pages that are wrong, and that nothing is left of it.

#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use testmesh_runner::programs::Programs;
use testmesh_runner::record::{ErrorKind, StepRecord, StepStatus};
use testmesh_shared::net::NetPolicy;
use testmesh_shared::tasks::Tasks;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::run::{Setting, named_server, run_steps_in};

const LOGIN: &str = r#"<!doctype html><title>Sign in</title>
<form onsubmit="event.preventDefault(); setTimeout(() => { location = '/welcome?' + new URLSearchParams(new FormData(this)); }, 50)">
<input id=name name=name value=old> <input id=born name=born type=date>
<textarea id=notes name=notes></textarea>
<select id=plan name=plan><option value=f>Free<option value=p>Paid</select>
<label><input type=checkbox id=terms name=terms> Terms</label>
<button id=save>Sign in</button> <button id=off type=button disabled>Off</button></form>
<p id=late hidden>late</p> <p id=keys></p> <p class=item>1<p class=item>2
<button id=ask type=button onclick="document.title = confirm('sure?') ? 'Sure' : 'Not'">Ask</button>
<div id=cover style="position:fixed; left:0; bottom:0; width:200px; height:50px"></div>
<button id=below type=button style="position:fixed; left:10px; bottom:10px; z-index:-1">Below</button>
<div style="height:3000px"></div>
<script>
setTimeout(() => { late.hidden = false; }, 150);
document.addEventListener('keydown', (event) => { keys.textContent += event.key + '.'; });
</script>"#;

const WELCOME: &str = r"<!doctype html><title>Shop</title><h1></h1><p id=all></p>
<script>
const query = new URLSearchParams(location.search);
document.querySelector('h1').innerText = 'Welcome, ' + query.get('name');
all.innerText = [...query].map(([name, value]) => name + '=' + value).join(';');
</script>";

/// Pages on a free port.
struct Site {
    address: SocketAddr,
    tasks: Tasks,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

impl Site {
    async fn start() -> Self {
        let app = Router::new()
            .route("/", get(async || Html(LOGIN)))
            .route("/welcome", get(async || Html(WELCOME)))
            .route("/hangs", get(std::future::pending::<()>));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let cancelled = tasks.cancelled().clone();
        tasks.spawn(async move { cancelled.run_until_cancelled(async { axum::serve(listener, app).await }).await });
        Self { address, tasks }
    }

    fn steps(&self, yaml: &str) -> String {
        yaml.replace("SITE", &format!("http://{}", self.address))
    }
}

fn chromium() -> Option<String> {
    named_server("TESTMESH_TEST_BROWSER", "Chromium")
}

fn with(program: String) -> Setting {
    let path = ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
    Setting { programs: Programs::none().with_browser(program).with_environment([path]), ..Setting::default() }
}

fn passed(records: &[StepRecord]) {
    for record in records {
        assert_eq!(record.status, StepStatus::Passed, "{:?} {:#?}", record.error, record.assertions);
    }
}

#[tokio::test]
async fn a_page_is_used_and_the_next_step_goes_on_with_it() {
    let Some(program) = chromium() else { return };
    let site = Site::start().await;
    let steps = r##"
- action: browser
  config:
    url: SITE/
    steps:
      - expect: {title: Sign in, selector: ".item", count: 2}
      - expect: "#late"
      - fill: {"#name": "Ada Lovelace", "#born": "1815-12-10", "#notes": "two\nlines"}
      - fill: {selector: "#notes", value: ""}
      - select: {"#plan": Paid}
      - check: "#terms"
      - check: "#terms"
      - press: {key: "!", selector: "#notes"}
      - hover: xpath=//button[@id='save']
      - expect: {selector: "#name", value: "Ada Lovelace"}
      - screenshot
      - click: text=Sign in
      - expect: {selector: h1, text: "Welcome, Ada Lovelace", url: /welcome}
      - evaluate: {parts: "document.querySelector('#all').innerText.split(';')", later: "Promise.resolve({n: 7})"}
  assert:
    - title == "Shop"
    - url contains "plan=p"
    - text contains "Welcome, Ada"
    - values.later.n == 7
    - values.parts[1] == "born=1815-12-10"
    - values.parts[2] == "notes=!"
    - values.parts[4] == "terms=on"
    - screenshot is not null
- action: browser_test
  config:
    steps:
      - back
      - expect: {title: Sign in}
      - click: "#ask"
      - expect: {title: Sure}
      - press: Control+a
      - press: Enter
      - expect: {selector: "#keys", contains: "a.Enter."}
      - screenshot: {full_page: true}
      - screenshot: {selector: "#name"}
  assert: [title == "Sure"]
"##;
    let records = run_steps_in(&site.steps(steps), with(program)).await;
    passed(&records);
    let picture = format!("{:?}", records[0].response);
    assert!(picture.contains("iVBORw0KGgo"), "a PNG is kept with the step");
}

/// What is done, the kind of the error, and a part of its message.
const WRONG: &[(&str, ErrorKind, &str)] = &[
    ("{click: '#none'}", ErrorKind::Assertion, "step 2 (`click: #none`): there is no element `#none`"),
    ("{click: '#off'}", ErrorKind::Assertion, "`#off` is disabled"),
    ("{click: '#below'}", ErrorKind::Assertion, "`#below` is covered by <div id=\"cover\">"),
    ("{expect: {title: Home}}", ErrorKind::Assertion, "the title is `Sign in`, not `Home`"),
    ("{expect: {selector: '.item', count: 3}}", ErrorKind::Assertion, "there are 2 elements `.item`, not 3"),
    ("{expect: {selector: '.item', text: x}}", ErrorKind::Assertion, "`.item` has the text `1`, not `x`"),
    ("{expect: {selector: '#save', visible: false}}", ErrorKind::Assertion, "`#save` can be seen"),
    ("{fill: {'#save': x}}", ErrorKind::Assertion, "`#save` is <button id=\"save\">, which takes no text"),
    ("{fill: {'#born': soon}}", ErrorKind::Assertion, "`#born` does not take `soon`"),
    ("{select: {'#plan': Gold}}", ErrorKind::Assertion, "has no option `Gold`, but `Free`, `Paid`"),
    ("{click: '#'}", ErrorKind::Config, "is not a valid selector"),
    ("{evaluate: 'nothing.there'}", ErrorKind::Config, "nothing is not defined"),
    ("{press: Entr}", ErrorKind::Config, "there is no key `Entr`: did you mean `Enter`?"),
    ("{goto: 'file:///etc/passwd'}", ErrorKind::Config, "`file` cannot be opened: it takes `http` or `https`"),
    ("{goto: 'http://UNUSED/'}", ErrorKind::Connection, "cannot connect to `UNUSED`"),
];

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place_and_a_picture() {
    let Some(program) = chromium() else { return };
    let site = Site::start().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut steps = String::new();
    for (act, ..) in WRONG {
        writeln!(steps, "- action: browser\n  config: {{wait: 300ms, steps: [{{goto: SITE/}}, {act}]}}").unwrap();
    }
    let records = run_steps_in(&site.steps(&steps.replace("UNUSED", &unused)), with(program)).await;
    for ((act, kind, expected), record) in WRONG.iter().zip(&records) {
        let error = record.error.clone().unwrap_or_else(|| panic!("{act}: {record:#?}"));
        assert_eq!(error.kind, *kind, "{act}: {}", error.message);
        assert!(error.message.contains(&expected.replace("UNUSED", &unused)), "{act}: {}", error.message);
        // Of a page that could not be opened there is nothing to see.
        let kept = format!("{:?}", record.response);
        assert!(*kind == ErrorKind::Connection || kept.contains("iVBORw0KGgo"), "{act}: a picture is kept");
    }
}

#[tokio::test]
async fn no_page_reaches_what_the_policy_denies() {
    let Some(program) = chromium() else { return };
    let (site, inner) = (Site::start().await, Site::start().await);
    let policy = NetPolicy::server(&[inner.address]);
    let steps = r"
- action: browser
  config: {steps: [{goto: INNER/welcome}]}
- action: browser
  config:
    steps:
      - goto: SITE/
      - evaluate: {reached: fetch('INNER/welcome', {mode: 'no-cors'}).then(() => true, () => false)}
  assert: [values.reached == false, title == 'Sign in']
";
    let steps = site.steps(steps).replace("INNER", &format!("http://{}", inner.address));
    let steps = steps.replace("reached: fetch", "reached: \"fetch").replace("() => false)}", "() => false)\"}");
    let records = run_steps_in(&steps, Setting { policy, ..with(program) }).await;
    let error = records[0].error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Policy, "{}", error.message);
    assert!(error.message.contains("denied by the network policy"), "{}", error.message);
    passed(&records[1..]);
}

#[tokio::test]
async fn without_a_browser_it_is_told_why_and_what_to_do() {
    let nothing = ("PATH".to_owned(), "/nonexistent".to_owned());
    for (programs, kind, expected) in [
        (Programs::none(), ErrorKind::Policy, "this server does not let flows open a browser (TESTMESH_BROWSER"),
        (Programs::all().with_environment([nothing]), ErrorKind::Config, "apt install chromium"),
        (Programs::none().with_browser("/nonexistent/chromium".to_owned()), ErrorKind::Config, "there is no program"),
        (Programs::none().with_browser("/bin/false".to_owned()), ErrorKind::Connection, "`/bin/false` does not start"),
    ] {
        let steps = "- action: browser\n  config: {steps: [{goto: 'http://localhost/'}]}\n";
        let records = run_steps_in(steps, Setting { programs, ..Setting::default() }).await;
        let error = records[0].error.clone().unwrap();
        assert_eq!(error.kind, kind, "{}", error.message);
        assert!(error.message.contains(expected), "{}", error.message);
    }
}

/// A program that starts the browser and notes its process and arguments.
fn noting(program: &str, folder: &Path) -> String {
    let file = folder.join("browser");
    let notes = folder.display();
    let script = format!("#!/bin/sh\necho $$ >{notes}/pid\necho \"$@\" >{notes}/arguments\nexec {program} \"$@\"\n");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file.display().to_string()
}

/// Waits until neither processes nor profile are left.
async fn gone(folder: &Path) {
    let pid: u32 = std::fs::read_to_string(folder.join("pid")).unwrap().trim().parse().unwrap();
    let arguments = std::fs::read_to_string(folder.join("arguments")).unwrap();
    let profile = arguments.split_whitespace().find_map(|word| word.strip_prefix("--user-data-dir=")).unwrap();
    let profile = PathBuf::from(profile);
    let end = Instant::now() + Duration::from_secs(10);
    while members(pid) > 0 || profile.exists() {
        assert!(Instant::now() < end, "{} processes and {} are left", members(pid), profile.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many processes of the group run.
fn members(group: u32) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let all = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    all.filter(|process| {
        // After the name in brackets: state, parent, group.
        let mut fields = process.rsplit(')').next().unwrap_or_default().split_whitespace();
        let state = fields.next();
        state != Some("Z") && fields.nth(1) == Some(&group.to_string())
    })
    .count()
}

#[tokio::test]
async fn nothing_is_left_of_a_browser_after_its_run() {
    let Some(program) = chromium() else { return };
    let site = Site::start().await;
    let folder = tempfile::tempdir().unwrap();
    let steps = site.steps(
        "- action: browser\n  config: {steps: [{goto: SITE/}]}\n\
         - action: browser\n  config: {timeout: 500ms, steps: [{goto: SITE/hangs}]}\n\
         - action: browser\n  config: {steps: [{goto: SITE/}, {expect: {title: Sign in}}]}\n",
    );
    let records = run_steps_in(&steps, with(noting(&program, folder.path()))).await;
    gone(folder.path()).await;
    passed(&records[..1]);
    assert_eq!(records[1].error.clone().unwrap().kind, ErrorKind::Timeout);
    passed(&records[2..]);
}

#[tokio::test]
async fn a_cancelled_run_ends_its_browser() {
    let Some(program) = chromium() else { return };
    let site = Site::start().await;
    let folder = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let steps =
        site.steps("- action: browser\n  config: {steps: [{goto: SITE/}, {goto: SITE/hangs}]}\n  timeout: 1m\n");
    let setting = Setting { cancel: cancel.clone(), ..with(noting(&program, folder.path())) };
    let running = run_steps_in(&steps, setting);
    let cancelling = async {
        while !folder.path().join("arguments").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cancel.cancel();
    };
    let (records, ()) = tokio::join!(running, cancelling);
    assert_eq!(records[0].status, StepStatus::Cancelled, "{records:#?}");
    gone(folder.path()).await;
}
