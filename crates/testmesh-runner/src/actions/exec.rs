//! `exec`: runs a program, without a shell, and gives back what it printed.
//!
//! Which programs, is decided by [`crate::programs::Programs`]. Whatever ends the step ends all processes that it started.

mod group;
mod output;

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use self::group::Groups;
pub(super) use self::group::{Group, apart};
use self::output::Captured;
use super::http_request::file_error;
use crate::action::{Action, ActionError, ActionResult, ActionSpec, Example, Field, Kind, ResultField};
use crate::engine::{ActionContext, Resolved};
use crate::programs::ProgramError;
use crate::record::ErrorKind;
use crate::units::show_duration;
use crate::value::Value;

/// Bytes of each output that are kept unless the step says otherwise.
const MAX_OUTPUT: u64 = 1 << 20;
/// How long a program that has ended may leave its output open (to what it left running) before nothing more is read.
const GRACE: Duration = Duration::from_millis(250);
/// What is added to the number of the signal that ended a program, as shells do.
const BY_SIGNAL: i32 = 128;

const fn optional(name: &'static str, aliases: &'static [&'static str], kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases, kind, required: false, default: None, doc }
}

static SPEC: ActionSpec = ActionSpec {
    name: "exec",
    aliases: &["run_command"],
    summary: "Runs a program.",
    description: "There is no shell: the program gets each argument as it is written, so nothing has to be quoted and nothing \
                  expands. A name without `/` is looked up in TestMesh's own search path. The program sees `PATH` and `HOME` \
                  of TestMesh's environment and what `env` gives it, nothing else. An exit code other than 0 is a result, \
                  not an error: assert on it.\n\nThe program runs in a process group of its own. A time-out or a cancelled \
                  run kills the whole group; what a program leaves running in the background is killed at the end of the \
                  run.\n\nOn a server no program may be run, unless the setting \
                  `exec_allow` names it. Whoever may write flows can then do there what that program can.\n\n\
                  `$` in outputs is the standard output where it is a JSON object or list.",
    config: &[
        Field {
            required: true,
            ..optional(
                "command",
                &["cmd", "program"],
                Kind::List(&Kind::Text),
                "The program, then each of its arguments; or the program alone.",
            )
        },
        optional("args", &["arguments"], Kind::List(&Kind::Text), "More arguments, after those of `command`."),
        optional(
            "stdin",
            &["input"],
            Kind::Any,
            "What the program reads: text as it is, a map or list as JSON. Without it there is nothing to read.",
        ),
        optional("env", &["environment"], Kind::Map(&Kind::Any), "More environment variables."),
        Field {
            default: Some("the flow's folder"),
            ..optional(
                "cwd",
                &["working_dir", "dir"],
                Kind::Text,
                "The folder that it runs in, one that flows may read. On a server without such a folder it is the server's own.",
            )
        },
        Field {
            default: Some("the step's, 30s"),
            ..optional("timeout", &[], Kind::Duration { zero: false }, "How long it may run before it is killed.")
        },
        Field {
            default: Some("1MiB"),
            ..optional(
                "max_output",
                &[],
                Kind::Size,
                "Bytes of `stdout`, and of `stderr`, that are kept. The rest is read and thrown away.",
            )
        },
    ],
    open_config: false,
    result: &[
        ResultField {
            name: "exit_code",
            kind: "integer",
            doc: "The program's exit code; 128 and the number of the signal when one ended it.",
        },
        ResultField {
            name: "stdout",
            kind: "string",
            doc: "What it printed, line ends included; bytes that are no text stay bytes.",
        },
        ResultField { name: "stderr", kind: "string", doc: "What it printed to the standard error." },
        ResultField { name: "json", kind: "any", doc: "The standard output as JSON; null where it is none." },
        ResultField { name: "truncated", kind: "boolean", doc: "Whether something was thrown away (`max_output`)." },
        ResultField { name: "duration_ms", kind: "integer", doc: "How long it ran, in milliseconds." },
    ],
    open_result: false,
    reserved: &["exit_code", "stdout", "stderr", "json", "truncated", "duration_ms"],
    examples: &[
        Example {
            title: "What a program says",
            yaml: "- action: exec\n  config:\n    command: [date, -u, -d, \"@0\", \"+%Y\"]\n  assert:\n    - exit_code == 0\n    - \
                   trim(stdout) == \"1970\"\n",
        },
        Example {
            title: "JSON in, JSON out",
            yaml: "- id: sorted\n  action: exec\n  config:\n    command: [cat]\n    stdin: {name: Ada, id: 7}\n  assert: json.name == \
                   \"Ada\"\n  output: {id: $.id}\n",
        },
    ],
};

/// The action.
pub(crate) struct Exec;

#[async_trait]
impl Action for Exec {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let job = Job::read(cx, &cx.resolve()?)?;
        cx.note_request(job.shown().into());
        let since = Instant::now();
        let mut child = job.start()?;
        // Before anything is awaited: dropping the step's future from here on kills the group.
        let group = Group::of(&child);
        let (mut stdout, mut stderr) = (Captured::new(job.max_output), Captured::new(job.max_output));
        let running = to_its_end(&mut child, job.stdin.clone(), &mut stdout, &mut stderr);
        let outcome = match job.timeout {
            Some(limit) => tokio::time::timeout(limit, running).await.map_err(|_| limit),
            None => Ok(running.await),
        };
        let code = match &outcome {
            Ok(Ok(status)) => Value::from(exit_code(*status)),
            Ok(Err(_)) | Err(_) => Value::Null,
        };
        let result = result(code, stdout, stderr, since.elapsed());
        let name = &job.command[0];
        let error = match outcome {
            Ok(Ok(_)) => {
                cx.resource(Groups::default).keep(group);
                return Ok(result);
            }
            Ok(Err(error)) => {
                ActionError::new(ErrorKind::Connection, format!("`{name}` cannot be waited for: {error}"))
            }
            Err(limit) => {
                let message = format!("`{name}` did not end within {} and was killed", show_duration(limit));
                ActionError::new(ErrorKind::Timeout, message)
            }
        };
        Err(ActionError { partial: Some(Box::new(result)), ..error })
    }
}

fn result(code: Value, stdout: Captured, stderr: Captured, took: Duration) -> ActionResult {
    let truncated = stdout.was_cut() || stderr.was_cut();
    let json = stdout.json();
    let primary = json.clone().filter(|json| json.is_map() || json.is_list());
    let result = Value::map([
        ("exit_code", code),
        ("stdout", stdout.into_value()),
        ("stderr", stderr.into_value()),
        ("json", json.unwrap_or_default()),
        ("truncated", Value::Bool(truncated)),
        ("duration_ms", Value::from(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))),
    ]);
    ActionResult { response: result.clone().into(), result, primary, ..ActionResult::default() }
}

/// What is run, and how.
struct Job {
    /// As written: the program and its arguments.
    command: Vec<ByteString>,
    file: PathBuf,
    stdin: Option<Bytes>,
    env: Vec<(String, String)>,
    cwd: Option<PathBuf>,
    timeout: Option<Duration>,
    max_output: usize,
}

impl Job {
    fn read(cx: &ActionContext<'_>, config: &Resolved) -> Result<Self, ActionError> {
        let mut command = words(config, "command")?;
        command.extend(words(config, "args")?);
        let name = command.first().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| ActionError::new(ErrorKind::Config, "`command` names no program"))?;
        let files = cx.files();
        let cwd = match config.text("cwd")? {
            Some(folder) => Some(files.resolve(&folder).map_err(|error| file_error(&error))?),
            None => Some(files.base.clone()).filter(|base| files.enabled && !base.as_os_str().is_empty()),
        };
        if let Some(folder) = cwd.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(ActionError::new(
                ErrorKind::Config,
                format!("`cwd` is `{}`, which is no folder", folder.display()),
            ));
        }
        let programs = cx.programs();
        let file = programs.find(name, cwd.as_deref().unwrap_or(".".as_ref()));
        let file = file.map_err(|error| program_error(&error, &command))?;
        let mut env: Vec<(String, String)> =
            programs.environment().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        for (name, value) in &config.map("env")? {
            env.push((variable(name)?.to_owned(), value.to_text().unwrap_or_default().to_string()));
        }
        let stdin = match config.value("stdin") {
            None | Some(Value::Null) => None,
            Some(Value::Bytes(bytes)) => Some(bytes.clone()),
            Some(value) => value.to_text().map(|text| text.as_bytes().clone()),
        };
        let max_output = config.size("max_output")?.unwrap_or(MAX_OUTPUT);
        Ok(Self {
            file,
            stdin,
            env,
            cwd,
            timeout: config.duration("timeout")?,
            max_output: usize::try_from(max_output).unwrap_or(usize::MAX),
            command,
        })
    }

    /// What the record shows: no value of a variable, and nothing that may be long.
    fn shown(&self) -> Value {
        let names = self.env.iter().map(|(name, _)| Value::from(name.as_str()));
        Value::map([
            ("command", Value::list(self.command.iter().cloned().map(Value::Text).collect())),
            ("program", Value::from(self.file.display().to_string())),
            ("cwd", self.cwd.as_ref().map_or(Value::Null, |folder| Value::from(folder.display().to_string()))),
            ("env", Value::list(names.collect())),
        ])
    }

    fn start(&self) -> Result<Child, ActionError> {
        let mut command = Command::new(&self.file);
        command.args(self.command[1..].iter().map(|word| &**word));
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(folder) = &self.cwd {
            command.current_dir(folder);
        }
        apart(&mut command);
        let failed =
            |error| ActionError::new(ErrorKind::Config, format!("`{}` cannot be started: {error}", self.command[0]));
        command.spawn().map_err(failed)
    }
}

/// The texts of a list; a NUL cannot be passed to a program.
fn words(config: &Resolved, key: &str) -> Result<Vec<ByteString>, ActionError> {
    let wrong = || ActionError::new(ErrorKind::Config, format!("`{key}` takes texts, without the character NUL"));
    let word = |item: Value| item.to_text().filter(|text| !item.is_list() && !item.is_map() && !text.contains('\0'));
    config.list(key)?.into_iter().map(|item| word(item).ok_or_else(wrong)).collect()
}

fn variable(name: &str) -> Result<&str, ActionError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(ActionError::new(ErrorKind::Config, format!("`env`: `{name}` is no name of a variable")));
    }
    Ok(name)
}

pub(super) fn program_error(error: &ProgramError, command: &[ByteString]) -> ActionError {
    let kind = match error {
        ProgramError::Denied { .. } | ProgramError::NoBrowser => ErrorKind::Policy,
        ProgramError::NotFound { .. } | ProgramError::NotExecutable { .. } | ProgramError::NoChromium => {
            ErrorKind::Config
        }
    };
    let looks_like_a_line = command.len() == 1 && command[0].contains(' ') && kind == ErrorKind::Config;
    let hint = if looks_like_a_line { "; `command` takes a list: the program, then each argument" } else { "" };
    ActionError::new(kind, format!("{error}{hint}"))
}

/// Feeds the program, reads what it prints, and waits for it. What was read stays when this is dropped.
async fn to_its_end(
    child: &mut Child,
    input: Option<Bytes>,
    stdout: &mut Captured,
    stderr: &mut Captured,
) -> std::io::Result<ExitStatus> {
    let (feed, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let streams = async { tokio::join!(write(feed, input), stdout.fill(out), stderr.fill(err)) };
    tokio::pin!(streams);
    tokio::select! {
        biased;
        // The program closed its output; it may still run.
        _ = &mut streams => child.wait().await,
        // Cancel-safe per docs on `wait()`. What it printed before its end is still to be read.
        status = child.wait() => {
            let _ = tokio::time::timeout(GRACE, &mut streams).await;
            status
        }
    }
}

/// A program need not read all that it is given.
async fn write(pipe: Option<ChildStdin>, input: Option<Bytes>) {
    if let (Some(mut pipe), Some(input)) = (pipe, input) {
        let _ = pipe.write_all(&input).await;
    }
}

fn exit_code(status: ExitStatus) -> i64 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    status.code().or(signal.map(|signal| BY_SIGNAL + signal)).unwrap_or(BY_SIGNAL).into()
}
