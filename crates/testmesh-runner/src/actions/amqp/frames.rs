//! AMQP's frames, put together to what they say: a method, or a method with its content.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::basic::{self, AMQPProperties};
use amq_protocol::protocol::{AMQPClass, channel, connection};
use bytes::{Buf, BytesMut};

/// Type, channel and length before a frame's payload, and the byte behind it.
const AROUND: usize = 8;
/// How deep tables and lists may stand in each other. The library reads them by recursion, without a limit.
const MOST_NESTED: i32 = 64;
/// Most bytes that one message may have.
const CONTENT_LIMIT: u64 = 64 << 20;
/// The type of frames with a part of a message, which is whatever it is.
const BODY: u8 = 3;
/// The class of all methods with content.
const BASIC: u16 = 60;

/// What a broker says.
#[derive(Debug)]
pub(super) enum Said {
    Method(AMQPClass),
    Content(Box<Content>),
}

/// A message, and the method that brings it.
#[derive(Debug)]
pub(in crate::actions) struct Content {
    pub(super) method: basic::AMQPMethod,
    pub(super) properties: AMQPProperties,
    pub(super) body: Vec<u8>,
}

/// Takes frames from what came in.
#[derive(Debug)]
pub(super) struct Reader {
    /// Most bytes of a frame.
    pub(super) frame_max: usize,
    /// A method whose content is still to come.
    begun: Option<basic::AMQPMethod>,
    /// A content of which some bytes are still to come, and how many it has in all.
    partial: Option<(Content, usize)>,
}

impl Reader {
    pub(super) fn new(frame_max: usize) -> Self {
        Self { frame_max, begun: None, partial: None }
    }

    /// The next thing said; none when it is not all there yet. The error says what came instead.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Said>, String> {
        while let Some(frame) = self.frame(input)? {
            if let Some(said) = self.put(frame)? {
                return Ok(Some(said));
            }
        }
        Ok(None)
    }

    fn frame(&self, input: &mut BytesMut) -> Result<Option<AMQPFrame>, String> {
        if input.first() == Some(&b'A') && input.len() >= 8 {
            return Err("another version of AMQP".to_owned());
        }
        if let Some(head) = input.get(..7) {
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if !(1..=8).contains(&head[0]) || length > self.frame_max {
                return Err("no frame".to_owned());
            }
            let is_body = head[0] == BODY;
            let Some(payload) = input.get(7..7 + length) else { return Ok(None) };
            if !is_body && nesting(payload) > MOST_NESTED {
                return Err("a table of too many tables".to_owned());
            }
        }
        let before = input.len();
        let (left, frame) = match parse_frame(&input[..]) {
            Ok((rest, frame)) => (rest.len(), frame),
            Err(error) if error.is_incomplete() => return Ok(None),
            Err(_) => return Err("a frame that makes no sense".to_owned()),
        };
        input.advance(before - left);
        Ok(Some(frame))
    }

    fn put(&mut self, frame: AMQPFrame) -> Result<Option<Said>, String> {
        let unasked = || Err("a content that nothing announced".to_owned());
        match frame {
            AMQPFrame::Method(_, AMQPClass::Basic(method)) if has_content(&method) => {
                self.begun = Some(method);
                Ok(None)
            }
            AMQPFrame::Method(_, method) => Ok(Some(Said::Method(method))),
            AMQPFrame::Header(_, header) => {
                let Some(method) = self.begun.take() else { return unasked() };
                if header.body_size > CONTENT_LIMIT {
                    return Err(format!("a message of {} bytes", header.body_size));
                }
                let content = Content { method, properties: header.properties, body: Vec::new() };
                self.partial = Some((content, usize::try_from(header.body_size).unwrap_or(0)));
                Ok(self.whole())
            }
            AMQPFrame::Body(_, bytes) => {
                let Some((content, length)) = &mut self.partial else { return unasked() };
                content.body.extend_from_slice(&bytes);
                if content.body.len() > *length {
                    return Err("a message that is longer than it says".to_owned());
                }
                Ok(self.whole())
            }
            AMQPFrame::Heartbeat | AMQPFrame::InvalidHeartbeat(_) => Ok(None),
            AMQPFrame::ProtocolHeader(_) => Err("another version of AMQP".to_owned()),
        }
    }

    fn whole(&mut self) -> Option<Said> {
        let (content, _) = self.partial.take_if(|(content, length)| content.body.len() == *length)?;
        Some(Said::Content(Box::new(content)))
    }
}

/// How many tables and lists stand in each other at most: not less than there are. A tag and a length that fits may also
/// stand in a text.
fn nesting(payload: &[u8]) -> i32 {
    let mut changes = vec![0; payload.len() + 1];
    for (at, window) in payload.windows(5).enumerate() {
        let length = u32::from_be_bytes([window[1], window[2], window[3], window[4]]);
        let end = usize::try_from(length).ok().and_then(|length| (at + 5).checked_add(length));
        if let (b'A' | b'F', Some(end @ 1..)) = (window[0], end.filter(|end| *end <= payload.len())) {
            changes[at] += 1;
            changes[end] -= 1;
        }
    }
    let depths = changes.iter().scan(0, |depth, change| {
        *depth += change;
        Some(*depth)
    });
    depths.max().unwrap_or(0)
}

fn has_content(method: &basic::AMQPMethod) -> bool {
    use basic::AMQPMethod::{Deliver, GetOk, Return};
    matches!(method, Deliver(_) | GetOk(_) | Return(_))
}

/// Writes a frame.
fn write(frame: &AMQPFrame, out: &mut BytesMut) -> Result<(), String> {
    let written = gen_frame(frame)(WriteContext::from(Vec::new()));
    let (bytes, _) = written.map_err(|error| format!("a frame cannot be written: {error:?}"))?.into_inner();
    out.extend_from_slice(&bytes);
    Ok(())
}

/// Writes a method.
pub(super) fn method(channel: u16, method: AMQPClass, out: &mut BytesMut) -> Result<(), String> {
    write(&AMQPFrame::Method(channel, method), out)
}

/// Writes the content of a method, in frames that the broker takes.
pub(super) fn content(
    channel: u16,
    properties: &AMQPProperties,
    body: &[u8],
    frame_max: usize,
    out: &mut BytesMut,
) -> Result<(), String> {
    let body_size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let header = AMQPContentHeader { class_id: BASIC, body_size, properties: properties.clone() };
    write(&AMQPFrame::Header(channel, header), out)?;
    for part in body.chunks(frame_max.saturating_sub(AROUND).max(1)) {
        write(&AMQPFrame::Body(channel, part.to_vec()), out)?;
    }
    Ok(())
}

/// Why a broker closes the connection or the channel; none for another method.
pub(super) fn closing(method: &AMQPClass) -> Option<&str> {
    match method {
        AMQPClass::Connection(connection::AMQPMethod::Close(close)) => Some(close.reply_text.as_str()),
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => Some(close.reply_text.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::{AMQPValue, FieldTable};

    use super::*;

    fn delivery(body: &[u8]) -> BytesMut {
        let mut text = BytesMut::new();
        let deliver = basic::Deliver { delivery_tag: 7, routing_key: "k".into(), ..basic::Deliver::default() };
        method(1, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)), &mut text).unwrap();
        let properties = AMQPProperties::default().with_message_id("m".into());
        content(1, &properties, body, 100, &mut text).unwrap();
        write(&AMQPFrame::Heartbeat, &mut text).unwrap();
        method(1, AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})), &mut text).unwrap();
        text
    }

    #[test]
    fn a_message_is_put_together_wherever_it_is_cut() {
        let body: Vec<u8> = (0..=255).collect();
        for body in [&body[..], b""] {
            let text = delivery(body).freeze();
            for cut in 0..text.len() {
                let (mut reader, mut input) = (Reader::new(100), BytesMut::from(&text[..cut]));
                let mut said = Vec::new();
                while let Some(next) = reader.take(&mut input).unwrap() {
                    said.push(next);
                }
                input.extend_from_slice(&text[cut..]);
                while let Some(next) = reader.take(&mut input).unwrap() {
                    said.push(next);
                }
                let [Said::Content(content), Said::Method(_)] = &said[..] else { panic!("{said:?}") };
                assert_eq!(content.body, body, "cut at {cut}");
                assert!(matches!(&content.method, basic::AMQPMethod::Deliver(deliver) if deliver.delivery_tag == 7));
            }
        }
    }

    fn start_with(depth: usize) -> BytesMut {
        let mut inner = AMQPValue::Void;
        for _ in 0..depth {
            inner = AMQPValue::FieldArray(vec![inner].into());
        }
        let mut server_properties = FieldTable::default();
        server_properties.insert("x".into(), inner);
        let start = connection::Start { server_properties, ..connection::Start::default() };
        let mut text = BytesMut::new();
        method(0, AMQPClass::Connection(connection::AMQPMethod::Start(start)), &mut text).unwrap();
        text
    }

    #[test]
    fn tables_in_tables_are_read_to_a_depth_and_no_further() {
        assert!(matches!(Reader::new(1 << 17).take(&mut start_with(40)), Ok(Some(Said::Method(_)))));
        assert!(Reader::new(1 << 17).take(&mut start_with(100)).is_err());
        // As deep as a frame can be: lists in lists, each a tag and a length.
        let mut payload = vec![0, 10, 0, 10, 0, 9];
        let depth = 26_000_u32;
        payload.extend((depth * 5 + 2).to_be_bytes());
        payload.extend([1, b'x']);
        for left in (0..depth).rev() {
            payload.push(b'A');
            payload.extend((left * 5).to_be_bytes());
        }
        let mut frame = BytesMut::from(&[1, 0, 0][..]);
        frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&payload);
        frame.extend_from_slice(&[0xce]);
        let refused = Reader::new(1 << 18).take(&mut frame).unwrap_err();
        assert_eq!(refused, "a table of too many tables");
    }

    #[test]
    fn what_is_not_amqp_is_an_error() {
        for text in [
            &b"HTTP/1.1 400 Bad Request"[..],
            b"AMQP\0\0\x09\x01",
            b"\x01\0\0\xff\xff\xff\xff\0",
            b"\x02\0\0\0\0\0\x01\0\xce",
        ] {
            let mut reader = Reader::new(100);
            assert!(reader.take(&mut BytesMut::from(text)).is_err(), "{text:?}");
        }
        let mut unasked = BytesMut::new();
        write(&AMQPFrame::Body(1, vec![1]), &mut unasked).unwrap();
        assert!(Reader::new(100).take(&mut unasked).is_err());
    }
}
