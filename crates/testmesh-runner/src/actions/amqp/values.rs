//! AMQP's values and properties, and what a flow says and sees of them.

use amq_protocol::protocol::basic::{AMQPMethod, AMQPProperties};
use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
use bytes::Bytes;
use bytestring::ByteString;

use super::frames::Content;
use crate::action::ActionError;
use crate::actions::messages;
use crate::engine::{Resolved, entries, items};
use crate::record::ErrorKind;
use crate::value::Value;

/// A short text of the protocol: at most 255 bytes.
pub(super) fn short(key: &str, text: &str) -> Result<ShortString, ActionError> {
    let wrong = |_| ActionError::new(ErrorKind::Config, format!("`{key}` takes at most 255 bytes"));
    ShortString::try_new(text).map_err(wrong)
}

/// The short text at a key; empty where there is none.
pub(in crate::actions) fn short_at(config: &Resolved, key: &str) -> Result<ShortString, ActionError> {
    short(key, &config.text(key)?.unwrap_or_default())
}

/// The table at a key.
pub(in crate::actions) fn table_at(config: &Resolved, key: &str) -> Result<FieldTable, ActionError> {
    let mut table = FieldTable::default();
    for (name, value) in &config.map(key)? {
        table.insert(short(key, name)?, field(key, value)?);
    }
    Ok(table)
}

fn field(key: &str, value: &Value) -> Result<AMQPValue, ActionError> {
    if let Some(list) = items(value) {
        let fields: Result<Vec<_>, _> = list.iter().map(|item| field(key, item)).collect();
        return Ok(AMQPValue::FieldArray(FieldArray::from(fields?)));
    }
    if let Some(map) = entries(value) {
        let mut table = FieldTable::default();
        for (name, value) in &map {
            table.insert(short(key, name)?, field(key, value)?);
        }
        return Ok(AMQPValue::FieldTable(table));
    }
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(truth) => AMQPValue::Boolean(*truth),
        Value::Int(number) => i32::try_from(*number).map_or(AMQPValue::LongLongInt(*number), AMQPValue::LongInt),
        Value::Float(number) => AMQPValue::Double(*number),
        Value::Bytes(bytes) => AMQPValue::ByteArray(bytes.to_vec().into()),
        _ => AMQPValue::LongString(LongString::from(value.to_text().unwrap_or_default().as_bytes().to_vec())),
    })
}

fn seen(field: &AMQPValue) -> Value {
    let text = |text: &ShortString| Value::from(text.as_str());
    match field {
        AMQPValue::Boolean(truth) => Value::Bool(*truth),
        AMQPValue::ShortShortInt(number) => Value::Int((*number).into()),
        AMQPValue::ShortShortUInt(number) => Value::Int((*number).into()),
        AMQPValue::ShortInt(number) => Value::Int((*number).into()),
        AMQPValue::ShortUInt(number) => Value::Int((*number).into()),
        AMQPValue::LongInt(number) => Value::Int((*number).into()),
        AMQPValue::LongUInt(number) => Value::Int((*number).into()),
        AMQPValue::LongLongInt(number) => Value::Int(*number),
        AMQPValue::Float(number) => Value::Float((*number).into()),
        AMQPValue::Double(number) => Value::Float(*number),
        AMQPValue::DecimalValue(decimal) => {
            Value::Decimal(rust_decimal::Decimal::new(decimal.value.into(), u32::from(decimal.scale).min(28)))
        }
        AMQPValue::ShortString(short) => text(short),
        AMQPValue::LongString(long) => messages::text(Bytes::copy_from_slice(long.as_bytes())),
        AMQPValue::FieldArray(array) => Value::list(array.as_slice().iter().map(seen).collect()),
        AMQPValue::Timestamp(seconds) => Value::from(*seconds),
        AMQPValue::FieldTable(table) => seen_table(table),
        AMQPValue::ByteArray(bytes) => messages::text(Bytes::copy_from_slice(bytes.as_slice())),
        AMQPValue::Void => Value::Null,
    }
}

fn seen_table(table: &FieldTable) -> Value {
    Value::map(table.inner().iter().map(|(name, field)| (name.as_str(), seen(field))))
}

/// Sets a property that is a short text.
type With = fn(AMQPProperties, ShortString) -> AMQPProperties;

/// The properties that a configuration describes. `is_json` is what the payload is when nothing says it.
pub(in crate::actions) fn properties(config: &Resolved, is_json: bool) -> Result<AMQPProperties, ActionError> {
    let mut properties = AMQPProperties::default();
    let persistent = config.boolean("persistent")?.unwrap_or(true);
    properties = properties.with_delivery_mode(if persistent { 2 } else { 1 });
    let default_type = is_json.then(|| ByteString::from_static("application/json"));
    if let Some(text) = config.text("content_type")?.or(default_type) {
        properties = properties.with_content_type(short("content_type", &text)?);
    }
    let headers = table_at(config, "headers")?;
    if !headers.inner().is_empty() {
        properties = properties.with_headers(headers);
    }
    if let Some(priority) = config.integer("priority")? {
        properties = properties.with_priority(u8::try_from(priority).unwrap_or(u8::MAX));
    }
    if let Some(time) = config.duration("expiration")? {
        properties = properties.with_expiration(short("expiration", &time.as_millis().to_string())?);
    }
    let texts: [(&str, With); 5] = [
        ("correlation_id", AMQPProperties::with_correlation_id),
        ("reply_to", AMQPProperties::with_reply_to),
        ("message_id", AMQPProperties::with_message_id),
        ("type", AMQPProperties::with_type),
        ("app_id", AMQPProperties::with_app_id),
    ];
    for (key, with) in texts {
        if let Some(text) = config.text(key)? {
            properties = with(properties, short(key, &text)?);
        }
    }
    Ok(properties)
}

/// A message as a flow sees it.
pub(in crate::actions) fn message(content: Content) -> Value {
    let (exchange, routing_key, redelivered) = match &content.method {
        AMQPMethod::Deliver(deliver) => (&deliver.exchange, &deliver.routing_key, deliver.redelivered),
        AMQPMethod::GetOk(got) => (&got.exchange, &got.routing_key, got.redelivered),
        AMQPMethod::Return(back) => (&back.exchange, &back.routing_key, false),
        _ => return Value::Null,
    };
    let (exchange, routing_key) = (Value::from(exchange.as_str()), Value::from(routing_key.as_str()));
    let (value, raw) = messages::value_and_raw(content.body.into());
    let of = &content.properties;
    let text = |text: &Option<ShortString>| text.as_ref().map_or(Value::Null, |text| Value::from(text.as_str()));
    Value::map([
        ("exchange", exchange),
        ("routing_key", routing_key),
        ("value", value),
        ("value_raw", raw),
        ("headers", of.headers().as_ref().map_or_else(|| Value::map::<&str>([]), seen_table)),
        ("redelivered", Value::Bool(redelivered)),
        ("content_type", text(of.content_type())),
        ("correlation_id", text(of.correlation_id())),
        ("reply_to", text(of.reply_to())),
        ("message_id", text(of.message_id())),
        ("type", text(of.kind())),
        ("app_id", text(of.app_id())),
        ("priority", of.priority().map_or(Value::Null, |priority| Value::Int(priority.into()))),
        ("timestamp", of.timestamp().map_or(Value::Null, Value::from)),
    ])
}
