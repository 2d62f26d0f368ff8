//! What a program prints, up to a limit.

use bytes::Bytes;
use bytestring::ByteString;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::value::Value;

/// Bytes that are read at a time.
const PART: usize = 16 << 10;

/// What was read of an output so far.
pub(super) struct Captured {
    bytes: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl Captured {
    /// Nothing yet, and at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, cut: false }
    }

    /// Reads to the end. What is over the limit is thrown away, so that the program is not held up.
    pub(super) async fn fill(&mut self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut part = vec![0; PART];
        // An output that cannot be read any more has ended.
        while let Ok(length @ 1..) = pipe.read(&mut part).await {
            let room = self.limit - self.bytes.len();
            self.bytes.extend_from_slice(&part[..length.min(room)]);
            self.cut |= length > room;
        }
    }

    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    /// The JSON that it is; none when it is something else, or not whole.
    pub(super) fn json(&self) -> Option<Value> {
        let text = self.bytes.trim_ascii();
        if text.is_empty() || self.cut {
            return None;
        }
        Value::from_json_bytes(Bytes::copy_from_slice(text)).ok()
    }

    /// Text where it is one; the character that the limit cut is left out.
    pub(super) fn into_value(mut self) -> Value {
        if let Err(error) = std::str::from_utf8(&self.bytes)
            && self.cut
            && error.error_len().is_none()
        {
            self.bytes.truncate(error.valid_up_to());
        }
        let bytes = Bytes::from(self.bytes);
        ByteString::try_from(bytes.clone()).map_or(Value::Bytes(bytes), Value::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn captured(text: &[u8], limit: usize) -> Captured {
        let mut captured = Captured::new(limit);
        captured.fill(Some(text)).await;
        captured
    }

    #[tokio::test]
    async fn what_is_over_the_limit_is_thrown_away_with_the_character_it_cuts() {
        for (limit, text, cut) in [(8, "Grüße!", false), (7, "Grüße", true), (3, "Gr", true), (0, "", true)] {
            let captured = captured("Grüße!".as_bytes(), limit).await;
            assert_eq!(captured.was_cut(), cut, "{limit}");
            assert_eq!(captured.into_value().as_str(), Some(text), "{limit}");
        }
    }

    #[tokio::test]
    async fn only_what_is_whole_and_json_is_json() {
        assert_eq!(captured(b" {\"a\": 1}\n", 100).await.json().unwrap().get("a").unwrap().as_i64(), Some(1));
        assert!(captured(b"[1, 2]", 5).await.json().is_none());
        for text in ["", "\n", "{", "word"] {
            assert!(captured(text.as_bytes(), 100).await.json().is_none(), "{text}");
        }
        assert!(matches!(captured(&[0xff, 0], 100).await.into_value(), Value::Bytes(_)));
    }
}
