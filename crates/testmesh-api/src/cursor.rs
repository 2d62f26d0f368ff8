//! Where a page ends, as an opaque word: the time and id of its last item in base64.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use testmesh_shared::page::PageKey;

use crate::problem::Problem;

/// 31 December 9999: later stamps have no RFC 3339 form.
const LAST_MICROS: i64 = 253_402_300_799_999_999;

/// The word for `key`.
pub(crate) fn encode(key: PageKey) -> String {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&key.created_at.timestamp_micros().to_be_bytes());
    bytes[8..].copy_from_slice(key.id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place that `word` stands for.
pub(crate) fn decode(word: &str) -> Result<PageKey, Problem> {
    let place = || {
        let bytes: [u8; 24] = URL_SAFE_NO_PAD.decode(word).ok()?.try_into().ok()?;
        let (micros, id) = bytes.split_at(8);
        let micros = i64::from_be_bytes(micros.try_into().ok()?);
        let created_at = (0..=LAST_MICROS).contains(&micros).then(|| DateTime::from_timestamp_micros(micros))??;
        Some(PageKey { created_at, id: uuid::Uuid::from_slice(id).ok()? })
    };
    place().ok_or_else(|| Problem::invalid("`cursor` must be a `next_cursor` that this server gave"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_the_way_out_and_back() {
        let created_at = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        let key = PageKey { created_at, id: uuid::Uuid::from_u128(42) };
        assert_eq!(decode(&encode(key)).unwrap(), key);
    }

    #[test]
    fn anything_else_is_refused() {
        for word in ["", "x", "AAAA", "\0", "////////////////////////////////", &"A".repeat(33), &"_".repeat(32)] {
            assert!(decode(word).is_err(), "{word:?}");
        }
    }
}
