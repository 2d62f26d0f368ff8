//! Unpacks bodies: gzip, deflate, brotli, zstd, one upon the other if need be, bounded after unpacking.

use ::http::HeaderMap;
use ::http::header::CONTENT_ENCODING;
use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::HttpError;

/// More codings than this upon each other are nobody's honest answer.
const MOST_CODINGS: usize = 4;
/// Bytes unpacked before other tasks get a turn.
const TURN: usize = 256 << 10;

/// Undoes `Content-Encoding`. A body with a coding that is not known stays as it is.
pub(super) async fn unpack(headers: &HeaderMap, packed: Bytes, limit: u64) -> Result<Bytes, HttpError> {
    let Some(codings) = codings(headers) else { return Ok(packed) };
    let mut body = packed;
    // The last coding named was applied last.
    for coding in codings.into_iter().rev() {
        body = unpack_one(coding, &body, limit).await?;
    }
    Ok(body)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings in the order they were applied; `None` when one of them is not known or there are too many.
fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let mut found = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().ok()?.split(',') {
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => found.push(Coding::Gzip),
                "deflate" => found.push(Coding::Deflate),
                "br" => found.push(Coding::Brotli),
                "zstd" => found.push(Coding::Zstd),
                "identity" | "" => {}
                _ => return None,
            }
        }
    }
    (found.len() <= MOST_CODINGS).then_some(found)
}

async fn unpack_one(coding: Coding, packed: &[u8], limit: u64) -> Result<Bytes, HttpError> {
    match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(packed);
            decoder.multiple_members(true);
            drain(decoder, "gzip", limit).await
        }
        // RFC 9110 means the zlib format; some servers send the bare one.
        Coding::Deflate if is_zlib(packed) => drain(ZlibDecoder::new(packed), "deflate", limit).await,
        Coding::Deflate => drain(DeflateDecoder::new(packed), "deflate", limit).await,
        Coding::Brotli => drain(BrotliDecoder::new(packed), "br", limit).await,
        Coding::Zstd => {
            let mut decoder = ZstdDecoder::new(packed);
            decoder.multiple_members(true);
            drain(decoder, "zstd", limit).await
        }
    }
}

fn is_zlib(packed: &[u8]) -> bool {
    match packed {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0,
        _ => false,
    }
}

async fn drain(mut decoder: impl AsyncRead + Unpin, coding: &'static str, limit: u64) -> Result<Bytes, HttpError> {
    let mut unpacked = BytesMut::new();
    let mut since_turn = 0;
    loop {
        unpacked.reserve(16 << 10);
        let read = decoder.read_buf(&mut unpacked).await.map_err(|source| HttpError::Decode { coding, source })?;
        if read == 0 {
            return Ok(unpacked.freeze());
        }
        if unpacked.len() as u64 > limit {
            return Err(HttpError::TooLarge { limit });
        }
        since_turn += read;
        if since_turn > TURN {
            since_turn = 0;
            tokio::task::yield_now().await;
        }
    }
}
