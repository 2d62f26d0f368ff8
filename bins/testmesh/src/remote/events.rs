//! Follows the events of a run on a server, from where it left off when a connection breaks.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use testmesh_runner::event::{EventSink, RunEvent, RunEventKind};
use testmesh_shared::http::Response;

use super::client::{ApiClient, Fault};

/// How often in a row a stream may end without an event before it is given up; the result is then asked for instead.
const MOST_FRUITLESS: u32 = 5;

/// Longer and longer waits, from 100 ms to 2 s.
pub(super) struct Pause {
    next: Duration,
}

impl Pause {
    pub(super) fn new() -> Self {
        Self { next: Duration::from_millis(100) }
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(Duration::from_secs(2));
    }
}

/// One run's events.
pub(super) struct Follower<'a> {
    api: &'a ApiClient,
    path: String,
    stream: Option<Response>,
    parser: SseParser,
    last_seq: u64,
    fruitless: u32,
    pause: Pause,
    over: bool,
}

impl<'a> Follower<'a> {
    pub(super) fn new(api: &'a ApiClient, path: String) -> Self {
        Self {
            api,
            path,
            stream: None,
            parser: SseParser::default(),
            last_seq: 0,
            fruitless: 0,
            pause: Pause::new(),
            over: false,
        }
    }

    /// Reads until the run is over, or until there is no getting at its events. May be dropped and called again.
    pub(super) async fn follow(&mut self, events: &dyn EventSink) {
        while !self.over && self.fruitless < MOST_FRUITLESS {
            let Some(stream) = &mut self.stream else {
                self.connect().await;
                continue;
            };
            if let Ok(Some(chunk)) = stream.chunk().await {
                for data in self.parser.push(&chunk) {
                    self.take(&data, events);
                }
            } else {
                self.stream = None;
                self.fruitless += 1;
            }
        }
    }

    async fn connect(&mut self) {
        if self.fruitless > 0 {
            self.pause.wait().await;
        }
        self.parser = SseParser::default();
        let after = self.last_seq.to_string();
        match self.open(&after).await {
            Ok(stream) => self.stream = Some(stream),
            Err(fault) if fault.passing => self.fruitless += 1,
            Err(_) => self.fruitless = MOST_FRUITLESS,
        }
    }

    async fn open(&self, after: &str) -> Result<Response, Fault> {
        let headers = [("accept", "text/event-stream"), ("last-event-id", after)];
        self.api.send(&Method::GET, &self.path, Bytes::new(), &headers).await
    }

    fn take(&mut self, data: &[u8], events: &dyn EventSink) {
        let Ok(event) = serde_json::from_slice::<RunEvent>(data) else { return };
        if event.seq <= self.last_seq {
            return;
        }
        self.last_seq = event.seq;
        self.fruitless = 0;
        self.over = matches!(event.kind, RunEventKind::Finished { .. });
        events.emit(event);
    }
}

/// Takes server-sent events apart, however their bytes were cut.
#[derive(Debug, Default)]
struct SseParser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
}

impl SseParser {
    /// The data of every event that `chunk` completes.
    fn push(&mut self, chunk: &[u8]) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        for &byte in chunk {
            match byte {
                b'\n' if std::mem::take(&mut self.after_cr) => {}
                b'\r' | b'\n' => {
                    self.after_cr = byte == b'\r';
                    complete.extend(self.end_line());
                }
                _ => {
                    self.after_cr = false;
                    self.line.push(byte);
                }
            }
        }
        complete
    }

    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return std::mem::take(&mut self.has_data).then(|| std::mem::take(&mut self.data));
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::SseParser;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream = b": hello\n\nid: 1\nevent: a\ndata: {\"a\":\ndata: 1}\n\ndata:two\r\n\r\nid: 3\n\ndata: last";
        let expect: [&[u8]; 2] = [b"{\"a\":\n1}", b"two"];
        for size in 1..stream.len() {
            let mut parser = SseParser::default();
            let found: Vec<_> = stream.chunks(size).flat_map(|chunk| parser.push(chunk)).collect();
            assert_eq!(found, expect, "in pieces of {size}");
        }
    }
}
