//! MQTT's packets, as far as a client sends and hears them: versions 3.1.1 and 5.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;

/// Most bytes that one packet may have.
const PACKET_LIMIT: usize = 64 << 20;
/// From here on, a code of version 5 is an error.
pub(super) const FAILURE: u8 = 0x80;

/// Which language is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Version {
    V311,
    V5,
}

/// A message, on its way in or out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::actions) struct Message {
    pub(in crate::actions) topic: ByteString,
    pub(in crate::actions) payload: Bytes,
    pub(in crate::actions) qos: u8,
    pub(in crate::actions) retain: bool,
    /// Its number on this connection, where `qos` is over 0.
    pub(in crate::actions) id: u16,
    pub(in crate::actions) properties: Properties,
}

/// What version 5 adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::actions) struct Properties {
    pub(in crate::actions) content_type: Option<ByteString>,
    pub(in crate::actions) response_topic: Option<ByteString>,
    pub(in crate::actions) correlation_data: Option<Bytes>,
    pub(in crate::actions) user: Vec<(ByteString, ByteString)>,
    /// Why something was refused, in the broker's words.
    pub(super) reason: Option<ByteString>,
}

impl Properties {
    /// Whether there is nothing that version 3.1.1 cannot say.
    pub(super) fn is_empty(&self) -> bool {
        self.content_type.is_none()
            && self.response_topic.is_none()
            && self.correlation_data.is_none()
            && self.user.is_empty()
    }
}

/// What a broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    Connected {
        code: u8,
        reason: Option<ByteString>,
    },
    Message(Message),
    /// An answer to a message: `PUBACK`, `PUBREC` or `PUBCOMP`.
    Answer {
        step: Step,
        id: u16,
        code: u8,
        reason: Option<ByteString>,
    },
    /// `PUBREL`: the message with this number is the subscriber's now.
    Release {
        id: u16,
    },
    Subscribed {
        id: u16,
        codes: Vec<u8>,
        reason: Option<ByteString>,
    },
    Pong,
    Disconnected {
        code: u8,
        reason: Option<ByteString>,
    },
}

/// Which answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Acknowledged,
    Received,
    Complete,
}

/// Takes the next packet from the front of `input`; none when it is not all there yet.
pub(super) fn take(version: Version, input: &mut BytesMut) -> Result<Option<Packet>, String> {
    let Some((first, length, head)) = head(input)? else { return Ok(None) };
    if input.len() < head + length {
        return Ok(None);
    }
    let mut packet = input.split_to(head + length).freeze();
    packet.advance(head);
    let mut body = Body { bytes: packet, version };
    read(first, &mut body).map(Some).ok_or_else(|| format!("a packet of type {} that makes no sense", first >> 4))
}

/// First byte, length of what follows, and how many bytes it takes to say so.
fn head(input: &[u8]) -> Result<Option<(u8, usize, usize)>, String> {
    let Some((first, rest)) = input.split_first() else { return Ok(None) };
    let mut length = 0;
    for (at, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return if length > PACKET_LIMIT {
                Err(format!("a packet of {length} bytes"))
            } else {
                Ok(Some((*first, length, at + 2)))
            };
        }
    }
    if rest.len() < 4 { Ok(None) } else { Err("a packet of no length".to_owned()) }
}

/// None when it makes no sense.
fn read(first: u8, body: &mut Body) -> Option<Packet> {
    let is_five = body.version == Version::V5;
    let answer = |step, body: &mut Body| {
        let id = body.number()?;
        // Version 5 leaves out a code that is 0, and properties that are none.
        let code = if is_five { body.byte().unwrap_or(0) } else { 0 };
        let reason = if body.bytes.has_remaining() { body.properties()?.reason } else { None };
        Some(Packet::Answer { step, id, code, reason })
    };
    match first >> 4 {
        2 => {
            body.byte()?;
            let code = body.byte()?;
            let reason = if is_five && body.bytes.has_remaining() { body.properties()?.reason } else { None };
            Some(Packet::Connected { code, reason })
        }
        3 => {
            let qos = (first >> 1) & 3;
            let topic = body.text()?;
            let id = if qos > 0 { body.number()? } else { 0 };
            let properties = if is_five { body.properties()? } else { Properties::default() };
            let payload = std::mem::take(&mut body.bytes);
            (qos < 3).then_some(Packet::Message(Message {
                topic,
                payload,
                qos,
                retain: first & 1 == 1,
                id,
                properties,
            }))
        }
        4 => answer(Step::Acknowledged, body),
        5 => answer(Step::Received, body),
        6 => Some(Packet::Release { id: body.number()? }),
        7 => answer(Step::Complete, body),
        9 => {
            let id = body.number()?;
            let reason = if is_five { body.properties()?.reason } else { None };
            Some(Packet::Subscribed { id, codes: std::mem::take(&mut body.bytes).to_vec(), reason })
        }
        13 => Some(Packet::Pong),
        14 if is_five => {
            let code = body.byte().unwrap_or(0);
            let reason = if body.bytes.has_remaining() { body.properties()?.reason } else { None };
            Some(Packet::Disconnected { code, reason })
        }
        _ => None,
    }
}

/// What is left of a packet.
struct Body {
    bytes: Bytes,
    version: Version,
}

impl Body {
    fn byte(&mut self) -> Option<u8> {
        self.bytes.has_remaining().then(|| self.bytes.get_u8())
    }

    fn number(&mut self) -> Option<u16> {
        (self.bytes.remaining() >= 2).then(|| self.bytes.get_u16())
    }

    fn part(&mut self, length: usize) -> Option<Bytes> {
        (self.bytes.remaining() >= length).then(|| self.bytes.split_to(length))
    }

    fn binary(&mut self) -> Option<Bytes> {
        let length = self.number()?;
        self.part(length.into())
    }

    fn text(&mut self) -> Option<ByteString> {
        ByteString::try_from(self.binary()?).ok()
    }

    fn varying(&mut self) -> Option<usize> {
        let mut number = 0;
        for at in 0..4 {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Properties; those that a client has no use for are passed over.
    fn properties(&mut self) -> Option<Properties> {
        let length = self.varying()?;
        let mut body = Body { bytes: self.part(length)?, version: self.version };
        let mut found = Properties::default();
        while let Some(kind) = body.byte() {
            match kind {
                0x03 => found.content_type = Some(body.text()?),
                0x08 => found.response_topic = Some(body.text()?),
                0x09 => found.correlation_data = Some(body.binary()?),
                0x1f => found.reason = Some(body.text()?),
                0x26 => found.user.push((body.text()?, body.text()?)),
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => drop(body.byte()?),
                0x13 | 0x21 | 0x22 | 0x23 => drop(body.number()?),
                0x02 | 0x11 | 0x18 | 0x27 => drop(body.part(4)?),
                0x0b => drop(body.varying()?),
                0x12 | 0x15 | 0x16 | 0x1a | 0x1c => drop(body.binary()?),
                _ => return None,
            }
        }
        Some(found)
    }
}

/// Who connects.
pub(super) struct Hello<'a> {
    pub(super) client_id: &'a str,
    pub(super) username: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    /// In seconds.
    pub(super) keep_alive: u16,
}

/// Writes packets.
pub(super) struct Writer<'a> {
    pub(super) version: Version,
    pub(super) out: &'a mut BytesMut,
}

impl Writer<'_> {
    fn packet(&mut self, first: u8, body: &[u8]) {
        self.out.put_u8(first);
        put_varying(self.out, body.len());
        self.out.put_slice(body);
    }

    pub(super) fn connect(&mut self, hello: &Hello<'_>) {
        let mut body = BytesMut::new();
        put_text(&mut body, b"MQTT");
        body.put_u8(if self.version == Version::V5 { 5 } else { 4 });
        let flag = |there: bool, bit: u8| if there { bit } else { 0 };
        // With a session that is new: nothing of an earlier one comes.
        body.put_u8(0x02 | flag(hello.username.is_some(), 0x80) | flag(hello.password.is_some(), 0x40));
        body.put_u16(hello.keep_alive);
        self.no_properties(&mut body);
        put_text(&mut body, hello.client_id.as_bytes());
        for text in [hello.username, hello.password].into_iter().flatten() {
            put_text(&mut body, text.as_bytes());
        }
        self.packet(0x10, &body);
    }

    pub(super) fn message(&mut self, message: &Message) {
        let mut body = BytesMut::with_capacity(message.payload.len() + message.topic.len() + 16);
        put_text(&mut body, message.topic.as_bytes());
        if message.qos > 0 {
            body.put_u16(message.id);
        }
        if self.version == Version::V5 {
            let mut properties = BytesMut::new();
            let texts = [(0x03, &message.properties.content_type), (0x08, &message.properties.response_topic)];
            for (kind, text) in texts {
                if let Some(text) = text {
                    properties.put_u8(kind);
                    put_text(&mut properties, text.as_bytes());
                }
            }
            if let Some(data) = &message.properties.correlation_data {
                properties.put_u8(0x09);
                put_text(&mut properties, data);
            }
            for (name, value) in &message.properties.user {
                properties.put_u8(0x26);
                put_text(&mut properties, name.as_bytes());
                put_text(&mut properties, value.as_bytes());
            }
            put_varying(&mut body, properties.len());
            body.put_slice(&properties);
        }
        body.put_slice(&message.payload);
        self.packet(0x30 | (message.qos << 1) | u8::from(message.retain), &body);
    }

    /// `retained` says whether messages that the broker has kept are wanted; only version 5 can be told.
    pub(super) fn subscribe(&mut self, id: u16, filter: &str, qos: u8, retained: bool) {
        let mut body = BytesMut::new();
        body.put_u16(id);
        self.no_properties(&mut body);
        put_text(&mut body, filter.as_bytes());
        body.put_u8(if retained || self.version == Version::V311 { qos } else { qos | 0x20 });
        self.packet(0x82, &body);
    }

    /// `PUBACK`, `PUBREC` or `PUBCOMP`.
    pub(super) fn answer(&mut self, step: Step, id: u16) {
        let first = match step {
            Step::Acknowledged => 0x40,
            Step::Received => 0x50,
            Step::Complete => 0x70,
        };
        self.packet(first, &id.to_be_bytes());
    }

    pub(super) fn release(&mut self, id: u16) {
        self.packet(0x62, &id.to_be_bytes());
    }

    pub(super) fn ping(&mut self) {
        self.packet(0xc0, &[]);
    }

    fn no_properties(&self, body: &mut BytesMut) {
        if self.version == Version::V5 {
            body.put_u8(0);
        }
    }
}

/// With its length, which its caller has kept below 64 KiB.
fn put_text(out: &mut BytesMut, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(&bytes[..length.into()]);
}

fn put_varying(out: &mut BytesMut, mut number: usize) {
    loop {
        let byte = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            return out.put_u8(byte);
        }
        out.put_u8(byte | 0x80);
    }
}

/// What a code means.
pub(super) fn meaning(version: Version, code: u8) -> &'static str {
    match (version, code) {
        (Version::V311, 1) | (Version::V5, 0x84) => "the broker does not speak this version of MQTT",
        (Version::V311, 2) | (Version::V5, 0x85) => "the client id is not accepted",
        (Version::V311, 3) | (Version::V5, 0x88) => "the broker is not available",
        (Version::V311, 4) | (Version::V5, 0x86) => "bad user name or password",
        (Version::V311, 5) | (Version::V5, 0x87) => "not authorized",
        (Version::V5, 0x81) => "malformed packet",
        (Version::V5, 0x82) => "protocol error",
        (Version::V5, 0x83) => "refused by the broker",
        (Version::V5, 0x89) => "the broker is busy",
        (Version::V5, 0x8a) => "banned",
        (Version::V5, 0x8b) => "the broker is shutting down",
        (Version::V5, 0x8d) => "nothing was heard in time",
        (Version::V5, 0x8e) => "another client took over the client id",
        (Version::V5, 0x8f) => "the topic filter is not valid",
        (Version::V5, 0x90) => "the topic is not valid",
        (Version::V5, 0x93) => "too many messages at a time",
        (Version::V5, 0x95) => "the packet is too large",
        (Version::V5, 0x96) => "too many messages in a time",
        (Version::V5, 0x97) => "a quota is exceeded",
        (Version::V5, 0x98) => "an administrator closed the connection",
        (Version::V5, 0x99) => "the payload is not what it says it is",
        (Version::V5, 0x9a) => "the broker keeps no messages (retain)",
        (Version::V5, 0x9b) => "the broker does not support this QoS",
        (Version::V5, 0x9c | 0x9d) => "another broker is to be used",
        (Version::V5, 0x9e) => "the broker has no shared subscriptions",
        (Version::V5, 0x9f) => "too many connections in a time",
        (Version::V5, 0xa2) => "the broker has no wildcards in subscriptions",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_wherever_it_is_cut() {
        for version in [Version::V311, Version::V5] {
            let properties = Properties {
                content_type: Some("text/plain".into()),
                response_topic: Some("r".into()),
                correlation_data: Some(Bytes::from_static(&[0, 255])),
                user: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
                reason: None,
            };
            let properties = if version == Version::V5 { properties } else { Properties::default() };
            let payload = Bytes::from(vec![b'x'; 300]);
            let message = Message { topic: "a/b".into(), payload, qos: 2, retain: true, id: 7, properties };
            let mut text = BytesMut::new();
            let mut writer = Writer { version, out: &mut text };
            writer.message(&message);
            writer.answer(Step::Received, 9);
            let text = text.freeze();
            for cut in 0..text.len() {
                let mut input = BytesMut::from(&text[..cut]);
                let mut found = Vec::new();
                while let Some(packet) = take(version, &mut input).unwrap() {
                    found.push(packet);
                }
                input.extend_from_slice(&text[cut..]);
                while let Some(packet) = take(version, &mut input).unwrap() {
                    found.push(packet);
                }
                let answer = Packet::Answer { step: Step::Received, id: 9, code: 0, reason: None };
                assert_eq!(found, [Packet::Message(message.clone()), answer], "{version:?}, cut at {cut}");
            }
        }
    }

    #[test]
    fn codes_and_reasons_of_version_5_are_read() {
        let read = |bytes: &[u8]| take(Version::V5, &mut BytesMut::from(bytes)).unwrap().unwrap();
        let reason = Some("no".into());
        assert_eq!(read(b"\x20\x08\0\x87\x05\x1f\0\x02no"), Packet::Connected { code: 0x87, reason: reason.clone() });
        assert_eq!(
            read(b"\x90\x09\0\x01\x05\x1f\0\x02no\x80"),
            Packet::Subscribed { id: 1, codes: vec![0x80], reason: reason.clone() }
        );
        let refused = Packet::Answer { step: Step::Acknowledged, id: 1, code: 0x97, reason };
        assert_eq!(read(b"\x40\x09\0\x01\x97\x05\x1f\0\x02no"), refused);
        assert_eq!(read(b"\xe0\x01\x8e"), Packet::Disconnected { code: 0x8e, reason: None });
    }

    #[test]
    fn what_is_not_mqtt_is_an_error() {
        for text in [&b"\x30\xff\xff\xff\xff\xff"[..], b"\x30\xff\xff\xff\x7f", b"\x36\x02\0\0", b"\x40\x00", b"\xf0\0"]
        {
            assert!(take(Version::V311, &mut BytesMut::from(text)).is_err(), "{text:?}");
        }
        assert!(take(Version::V5, &mut BytesMut::from(&b"\x30\x05\0\x01a\x01\x7f"[..])).is_err());
    }
}
