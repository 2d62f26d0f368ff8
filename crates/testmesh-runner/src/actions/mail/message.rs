//! A mail that was caught, as a flow sees it.

use bytes::Bytes;
use mail_parser::{Address, MessageParser, MessagePart, MimeHeaders, PartType};

use super::catcher::Mail;
use crate::actions::messages;
use crate::value::Value;

/// The mail with what stands in it. What is no mail at all has its text alone.
pub(in crate::actions) fn seen(mail: &Mail) -> Value {
    let list = |texts: &[String]| Value::list(texts.iter().map(|text| Value::from(text.as_str())).collect());
    let mut entries = vec![("sender", Value::from(mail.sender.as_str())), ("recipients", list(&mail.recipients))];
    let parsed = MessageParser::default().parse(&mail.message[..]);
    let Some(parsed) = parsed else {
        entries.push(("text", messages::text(mail.message.clone())));
        return Value::map(entries);
    };
    let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
    let body = |part: Option<&MessagePart<'_>>| {
        let text = part.and_then(MessagePart::text_contents)?;
        // On the way a line ends with two characters, and the last one always does.
        Some(text.replace("\r\n", "\n").trim_end().to_owned())
    };
    let body = |part| body(part).map_or(Value::Null, Value::from);
    // Where a mail has only one of them, the parser gives it for the other, too.
    let html = parsed.html_part(0).filter(|part| part.is_text_html());
    let plain = parsed.text_part(0).filter(|part| !part.is_text_html());
    let headers = parsed.headers_raw().map(|(name, value)| (name, Value::from(unfolded(value))));
    entries.extend([
        ("from", text(parsed.from().and_then(Address::first).and_then(|address| address.address()))),
        ("from_name", text(parsed.from().and_then(Address::first).and_then(|address| address.name()))),
        ("to", addresses(parsed.to())),
        ("cc", addresses(parsed.cc())),
        ("reply_to", addresses(parsed.reply_to())),
        ("subject", text(parsed.subject())),
        ("date", parsed.date().map_or(Value::Null, |date| Value::from(date.to_rfc3339()))),
        ("message_id", text(parsed.message_id())),
        ("headers", headers_map(headers)),
        ("text", body(plain)),
        ("html", body(html)),
        ("attachments", Value::list(parsed.attachments().map(attachment).collect())),
        ("size", Value::from(mail.message.len())),
        ("received_at", Value::from(mail.received.to_rfc3339())),
    ]);
    Value::map(entries)
}

/// Names ignore case, and the first of several with one name counts.
fn headers_map<'a>(headers: impl Iterator<Item = (&'a str, Value)>) -> Value {
    let mut map = crate::value::Map { ignore_case: true, ..crate::value::Map::default() };
    for (name, value) in headers {
        if map.get(name).is_none() {
            map.entries.insert(name.into(), value);
        }
    }
    Value::Map(std::sync::Arc::new(map))
}

/// A header's lines as one.
fn unfolded(value: &str) -> String {
    value.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn addresses(addresses: Option<&Address<'_>>) -> Value {
    let each = addresses.into_iter().flat_map(|addresses| addresses.iter());
    Value::list(each.filter_map(|address| address.address().map(Value::from)).collect())
}

fn attachment(part: &MessagePart<'_>) -> Value {
    let kind = part.content_type().map_or_else(
        || "text/plain".to_owned(),
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")),
    );
    let bytes = match &part.body {
        PartType::Text(text) | PartType::Html(text) => text.as_bytes(),
        PartType::Message(message) => message.raw_message(),
        PartType::Binary(_) | PartType::InlineBinary(_) | PartType::Multipart(_) => part.contents(),
    };
    Value::map([
        ("filename", part.attachment_name().map_or(Value::Null, Value::from)),
        ("content_type", Value::from(kind)),
        ("content_id", part.content_id().map_or(Value::Null, Value::from)),
        ("size", Value::from(bytes.len())),
        ("content", messages::text(Bytes::copy_from_slice(bytes))),
    ])
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn mail(text: &'static str) -> Value {
        seen(&Mail {
            sender: "a@b.c".to_owned(),
            recipients: vec!["d@e.f".to_owned()],
            received: DateTime::UNIX_EPOCH,
            message: Bytes::from_static(text.as_bytes()),
        })
    }

    fn text(mail: &Value, key: &str) -> Option<String> {
        mail.get(key).and_then(|value| value.as_str().map(str::to_owned))
    }

    #[test]
    fn encoded_headers_and_bodies_are_read() {
        let mail = mail(
            "From: =?UTF-8?Q?J=C3=B6rg?= <joerg@example.com>\r\nTo: a@example.com, B <b@example.com>\r\n\
             Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\nX-Id: 1\r\n 2\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n",
        );
        assert_eq!(text(&mail, "from").as_deref(), Some("joerg@example.com"));
        assert_eq!(text(&mail, "from_name").as_deref(), Some("Jörg"));
        assert_eq!(mail.get("to").unwrap().to_json(), serde_json::json!(["a@example.com", "b@example.com"]));
        assert_eq!(text(&mail, "subject").as_deref(), Some("Grüße"));
        assert_eq!(text(&mail, "text").as_deref(), Some("Grüße"));
        assert_eq!(mail.get("html").unwrap().to_json(), serde_json::Value::Null);
        assert_eq!(text(&mail.get("headers").unwrap(), "x-id").as_deref(), Some("1 2"));
    }

    #[test]
    fn what_is_no_mail_is_shown_all_the_same() {
        for message in ["", "\r\n", "no header at all"] {
            assert_eq!(text(&mail(message), "sender").as_deref(), Some("a@b.c"), "{message:?}");
        }
    }
}
