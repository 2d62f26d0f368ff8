//! What a plugin says while it runs: lines of the log, and what it prints, in one order and within a limit.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The most lines of one call.
const MAX_LINES: usize = 1_000;
/// The longest line, in bytes; the rest is left out.
const MAX_LINE: usize = 16 << 10;
/// What may be written at once, in bytes.
const MAX_WRITE: usize = 64 << 10;

/// A line that a plugin said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// `debug`, `info`, `warn` or `error`.
    pub(crate) level: &'static str,
    /// What it said.
    pub(crate) text: String,
}

/// What one call of a plugin said so far.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    said: Mutex<Said>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Said {
    lines: VecDeque<Line>,
    n_lines: usize,
    /// Printed, but not to the end of the line.
    begun: [Vec<u8>; 2],
    /// What was printed last to the standard error, for when the plugin ends at once.
    last_words: String,
}

/// Where a plugin prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out = 0,
    Err = 1,
}

impl Stream {
    fn level(self) -> &'static str {
        match self {
            Stream::Out => "info",
            Stream::Err => "warn",
        }
    }
}

impl Lines {
    /// Waits until something more was said. Cancel-safe.
    pub(crate) async fn more(&self) {
        self.more.notified().await;
    }

    /// Takes what was said since the last time.
    pub(crate) fn take(&self) -> Vec<Line> {
        self.said.lock().lines.drain(..).collect()
    }

    /// Takes what was said last, lines without an end too.
    pub(crate) fn take_last(&self) -> Vec<Line> {
        {
            let mut said = self.said.lock();
            for stream in [Stream::Out, Stream::Err] {
                let begun = std::mem::take(&mut said.begun[stream as usize]);
                if !begun.is_empty() {
                    said.printed(stream, &begun);
                }
            }
        }
        self.take()
    }

    /// The last line of the standard error, which often says why a plugin ended; may be empty.
    pub(super) fn last_words(&self) -> String {
        let said = self.said.lock();
        let begun = &said.begun[Stream::Err as usize];
        if begun.is_empty() { said.last_words.clone() } else { cut(begun) }
    }

    pub(super) fn say(&self, level: &'static str, text: &str) {
        self.said.lock().push(level, cut(text.as_bytes()));
        self.more.notify_one();
    }

    fn print(&self, stream: Stream, bytes: &[u8]) {
        {
            let mut said = self.said.lock();
            let mut begun = std::mem::take(&mut said.begun[stream as usize]);
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                let room = MAX_LINE.saturating_sub(begun.len());
                begun.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.ends_with(b"\n") {
                    said.printed(stream, &begun);
                    begun.clear();
                }
            }
            said.begun[stream as usize] = begun;
        }
        self.more.notify_one();
    }
}

impl Said {
    fn printed(&mut self, stream: Stream, line: &[u8]) {
        let line = cut(line);
        if line.trim().is_empty() {
            return;
        }
        if stream == Stream::Err {
            self.last_words.clone_from(&line);
        }
        self.push(stream.level(), line);
    }

    fn push(&mut self, level: &'static str, text: String) {
        self.n_lines += 1;
        match self.n_lines {
            n if n <= MAX_LINES => self.lines.push_back(Line { level, text }),
            n if n == MAX_LINES + 1 => {
                let text = format!("the plugin says more than {MAX_LINES} lines; the others are left out");
                self.lines.push_back(Line { level: "warn", text });
            }
            _ => {}
        }
    }
}

fn cut(line: &[u8]) -> String {
    let line = &line[..line.len().min(MAX_LINE)];
    String::from_utf8_lossy(line).trim_end().to_owned()
}

/// The standard output or error of an instance.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) stream: Stream,
    pub(super) lines: Arc<Lines>,
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Of WASI 0.3, which plugins do not have.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lines.print(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: &'static str, text: &str) -> Line {
        Line { level, text: text.to_owned() }
    }

    #[test]
    fn what_is_printed_becomes_lines() {
        let lines = Lines::default();
        lines.print(Stream::Out, b"one\ntw");
        lines.say("debug", "between");
        lines.print(Stream::Out, b"o\n\nthree");
        lines.print(Stream::Err, b"oh\n");
        let expect = [line("info", "one"), line("debug", "between"), line("info", "two"), line("warn", "oh")];
        assert_eq!(lines.take(), expect);
        assert_eq!(lines.last_words(), "oh");
        assert_eq!(lines.take_last(), [line("info", "three")]);
        assert!(lines.take_last().is_empty());
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        let lines = Lines::default();
        lines.print(Stream::Out, &[vec![b'x'; 2 * MAX_LINE], b"\n".to_vec()].concat());
        for _ in 0..2 * MAX_LINES {
            lines.say("info", "again");
        }
        let said = lines.take();
        assert_eq!(said[0].text.len(), MAX_LINE);
        assert_eq!(said.len(), MAX_LINES + 1);
        assert_eq!(said[MAX_LINES].level, "warn");
    }
}
