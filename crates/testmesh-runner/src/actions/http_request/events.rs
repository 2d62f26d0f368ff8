//! Reads server-sent events from the pieces of a body, as the HTML standard has it (section 9.2.6).

use std::collections::VecDeque;

use bytestring::ByteString;

use crate::value::Value;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Its type; `message` when the server names none.
    pub(super) kind: String,
    /// The last id that the server gave, with this event or before.
    pub(super) id: String,
    pub(super) data: String,
}

impl Event {
    /// As a flow sees it, and what `$` is: the parsed JSON, else the text.
    pub(super) fn into_value(self) -> (Value, Value) {
        let data = ByteString::from(self.data);
        let json = Value::from_json_bytes(data.as_bytes().clone()).ok();
        let value = json.clone().unwrap_or_else(|| Value::Text(data.clone()));
        let event = Value::map([
            ("event", Value::from(self.kind)),
            ("id", Value::from(self.id)),
            ("data", Value::Text(data)),
            ("json", json.unwrap_or_default()),
        ]);
        (event, value)
    }
}

/// What is read of a stream that has not ended.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    /// The line that has begun.
    line: Vec<u8>,
    /// Whether the last byte was a carriage return, which a line feed may follow.
    after_return: bool,
    /// Whether a line was read: only the first one may begin with a byte order mark.
    begun: bool,
    kind: String,
    data: String,
    id: String,
}

impl EventReader {
    /// Takes a piece of the body and adds the events that it completes.
    pub(super) fn push(&mut self, piece: &[u8], events: &mut VecDeque<Event>) {
        for byte in piece {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => self.end_line(events),
                byte => self.line.push(*byte),
            }
        }
    }

    /// Bytes that wait for the end of their event.
    pub(super) fn waiting(&self) -> usize {
        self.line.len() + self.data.len() + self.kind.len() + self.id.len()
    }

    fn end_line(&mut self, events: &mut VecDeque<Event>) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if self.begun { &*line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.begun = true;
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            let mut data = std::mem::take(&mut self.data);
            // Without data nothing is told.
            if data.pop().is_some() {
                let kind = if kind.is_empty() { "message".to_owned() } else { kind };
                events.push_back(Event { kind, id: self.id.clone(), data });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            // Comments, `retry`, and what nobody knows.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `type|id|data` of each event, however the text is cut.
    fn check(text: &str, expect: &[&str]) {
        for size in [1, 2, 3, 7, text.len().max(1)] {
            let mut reader = EventReader::default();
            let mut events = VecDeque::new();
            for piece in text.as_bytes().chunks(size) {
                reader.push(piece, &mut events);
            }
            let seen: Vec<String> =
                events.iter().map(|event| format!("{}|{}|{}", event.kind, event.id, event.data)).collect();
            assert_eq!(seen, expect, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        check("data: one\n\ndata:two\n\n", &["message||one", "message||two"]);
        check("event: add\nid: 7\ndata: a\ndata: b\n\ndata: c\n\n", &["add|7|a\nb", "message|7|c"]);
        check("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["message||a", "message||b", "message||c"]);
        check(": comment\n\nevent: nothing\n\ndata: x\n\n", &["message||x"]);
        check("\u{feff}data: marked\n\n", &["message||marked"]);
        check(
            "data\n\ndata:  two spaces\n\nunknown: x\nretry: 10\ndata: y\n\n",
            &["message||", "message|| two spaces", "message||y"],
        );
        check("data: unfinished", &[]);
        check("id: 1\ndata: a\n\nid\ndata: b\n\n", &["message|1|a", "message||b"]);
    }
}
