//! What schemas, values and bytes are to each other. The bytes of whole messages were written by fastavro 1.13.

use bytes::Bytes;
use serde_json::json;

use super::Schema;
use crate::value::Value;

const ORDER: &str = r#"{
    "type": "record", "name": "Order", "namespace": "shop.v1", "fields": [
        {"name": "id", "type": "long"}, {"name": "count", "type": "int"},
        {"name": "ratio", "type": "float"}, {"name": "weight", "type": "double"},
        {"name": "open", "type": "boolean"}, {"name": "blob", "type": "bytes"}, {"name": "customer", "type": "string"},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 2}},
        {"name": "price", "type": {
            "type": "fixed", "name": "Price", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 4}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "at_us", "type": {"type": "long", "logicalType": "time-micros"}},
        {"name": "made", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "made_us", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["BOOK", "LAMP"]}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "sizes", "type": {"type": "map", "values": "int"}},
        {"name": "note", "type": ["null", "string"], "default": null},
        {"name": "payment", "type": ["null",
            {"type": "record", "name": "Card", "fields": [{"name": "number", "type": "string"}]},
            {"type": "record", "name": "Cash", "fields": [{"name": "amount", "type": "long"}]}, "string"]},
        {"name": "next", "type": ["null", "Order"], "default": null}
    ]}"#;
const WRITTEN: &str = "818080808080802054cdcc8c3f9c7500883ce4377e01060001ff12416461204cc3b6776522fc5f36df8a3f240c475343a0\
    6931c0f52e000000000001e848cebf02dcacc40aeabcfda552dcbccccaef660190b2cccaef664839663263316239652d386635352d346430652d\
    396136312d3061386238643366336631310102030402040261026200020273020000040a00";

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn schema(text: &str) -> Schema {
    Schema::parse(text, &[]).unwrap()
}

fn order() -> serde_json::Value {
    json!({
        "id": -9_007_199_254_740_993_i64, "count": 42, "ratio": 1.1, "weight": 1e300, "open": true, "blob": "AAH/",
        "customer": "Ada Löwe", "total": "-12345678901234567890123456789012345678.90", "price": "12.5000",
        "day": "2026-01-02", "at": "03:04:05.678", "at_us": "03:04:05.678901",
        "made": "2026-01-02T03:04:05.678Z", "made_us": "1969-12-31T23:59:59.999999Z", "local": "2026-01-02T03:04:05",
        "key": "9f2c1b9e-8f55-4d0e-9a61-0a8b8d3f3f11", "hash": "AQIDBA==", "kind": "LAMP", "tags": ["a", "b"],
        "sizes": {"s": 1}, "note": null, "payment": {"amount": 5}, "next": null,
    })
}

#[test]
fn what_another_library_wrote_is_read_with_every_type_and_written_as_it_was() {
    let schema = schema(ORDER);
    let value = schema.read(unhex(WRITTEN), "value").unwrap();
    for (name, expected) in order().as_object().unwrap() {
        let found = value.get(name).unwrap();
        match name.as_str() {
            // Exact: with all its digits, which JSON's number would not show.
            "price" => assert!(matches!(found, Value::Decimal(exact) if exact.to_string() == "12.5000"), "{found:?}"),
            _ => assert_eq!(&found.to_json(), expected, "{name}"),
        }
    }
    assert_eq!(schema.write(&value, "payload").unwrap(), unhex(WRITTEN), "the value that was read");
    assert_eq!(schema.write(&Value::from_json(order()), "payload").unwrap(), unhex(WRITTEN), "as a flow writes it");
}

#[test]
fn values_are_taken_in_the_forms_that_flows_have() {
    for (of, written, read) in [
        (json!("int"), json!("5"), json!(5)),
        (json!("long"), json!(5.0), json!(5)),
        (json!("double"), json!(1), json!(1.0)),
        (json!("float"), json!("NaN"), json!("NaN")),
        (json!("double"), json!("-Infinity"), json!("-Infinity")),
        (json!("boolean"), json!("true"), json!(true)),
        (json!("string"), json!(42), json!("42")),
        (json!({"type": "int", "logicalType": "date"}), json!(1), json!("1970-01-02")),
        (json!({"type": "long", "logicalType": "timestamp-millis"}), json!(0), json!("1970-01-01T00:00:00Z")),
        (
            json!({"type": "long", "logicalType": "timestamp-nanos"}),
            json!("2026-01-02T03:04:05.000000001+01:00"),
            json!("2026-01-02T02:04:05.000000001Z"),
        ),
        (json!({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}), json!(1.5), json!(1.5)),
        (
            json!({"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}),
            json!("9f2c1b9e-8f55-4d0e-9a61-0a8b8d3f3f11"),
            json!("9f2c1b9e-8f55-4d0e-9a61-0a8b8d3f3f11"),
        ),
        (
            json!({"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}),
            json!({"days": 3}),
            json!({"months": 0, "days": 3, "milliseconds": 0}),
        ),
        // What describes no decimal is ignored.
        (json!({"type": "bytes", "logicalType": "decimal"}), json!("AAE="), json!("AAE=")),
        (json!({"type": "int", "logicalType": "of-the-future"}), json!(7), json!(7)),
    ] {
        let schema = schema(&of.to_string());
        let bytes =
            schema.write(&Value::from_json(written.clone()), "payload").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(schema.read(bytes.into(), "value").unwrap().to_json(), read, "{of}: {written}");
    }
}

#[test]
fn fields_that_are_left_out_get_their_defaults() {
    let schema = schema(
        r#"{"type": "record", "name": "A", "fields": [
            {"name": "n", "type": "int", "default": 3}, {"name": "maybe", "type": ["null", "string"]},
            {"name": "raw", "type": "bytes", "default": "\u0000\u00ff"},
            {"name": "list", "type": {"type": "array", "items": "int"}, "default": []},
            {"name": "inner", "default": {"x": 1}, "type":
                {"type": "record", "name": "B", "fields": [{"name": "x", "type": "int"}]}}]}"#,
    );
    let bytes = schema.write(&Value::from_json(json!({})), "payload").unwrap();
    let read = schema.read(bytes.into(), "value").unwrap().to_json();
    assert_eq!(read, json!({"n": 3, "maybe": null, "raw": "AP8=", "list": [], "inner": {"x": 1}}));
}

#[test]
fn a_union_takes_the_branch_that_the_value_is_or_names() {
    let union = r#"["null", "double", "long", "string", {"type": "map", "values": "int"},
        {"type": "record", "name": "a.Card", "fields": [{"name": "n", "type": "long"}]},
        {"type": "record", "name": "a.Cash", "fields": [{"name": "n", "type": "long"}]}]"#;
    for (value, branch) in [
        (json!(null), 0),
        (json!(1.5), 1),
        (json!(1), 2),
        (json!("1"), 3),
        (json!({"double": 1.5}), 1),
        (json!({"any": 1, "key": 2}), 4),
        (json!({"a.Cash": {"n": 1}}), 6),
    ] {
        let bytes = schema(union).write(&Value::from_json(value.clone()), "payload").unwrap();
        assert_eq!(bytes[0], branch * 2, "{value}");
    }
    let number = schema(r#"["null", "int"]"#).write(&Value::from("5"), "payload").unwrap();
    assert_eq!(number, [2, 10], "a text is a number where nothing else takes a text");
}

#[test]
fn what_does_not_fit_is_told_with_its_path_and_what_is_taken() {
    let mut cases = Vec::new();
    for (field, value, expected) in [
        ("id", json!("x"), "`payload.id` takes an integer of 64 bits, got the string \"x\""),
        ("count", json!(1_i64 << 31), "`payload.count` takes an integer of 32 bits, got the integer 2147483648"),
        ("count", json!(1.5), "`payload.count` takes an integer of 32 bits, got the number 1.5"),
        ("open", json!(1), "`payload.open` takes `true` or `false`, got the integer 1"),
        ("blob", json!("?"), "`payload.blob` takes bytes in base64, got the string \"?\""),
        ("customer", json!(null), "`payload.customer` takes a text, got null"),
        (
            "price",
            json!(0.123_45),
            "`payload.price` takes a number of 18 digits, 4 of them after the point, got 0.12345",
        ),
        ("day", json!("soon"), "`payload.day` takes a date such as `2026-01-02`, got the string \"soon\""),
        (
            "made",
            json!("2026-01-02"),
            "`payload.made` takes a moment such as `2026-01-02T03:04:05.678Z`, got the string \"2026-01-02\"",
        ),
        ("key", json!("1"), "`payload.key` takes a UUID, got the string \"1\""),
        ("hash", json!("AAE="), "`payload.hash` takes 4 bytes, got 2"),
        (
            "kind",
            json!("PEN"),
            "`payload.kind` takes a name of `shop.v1.Kind` (`BOOK`, `LAMP`), got the string \"PEN\"",
        ),
        ("tags", json!("a"), "`payload.tags` takes a list, got the string \"a\""),
        ("tags", json!(["a", {}]), "`payload.tags[1]` takes a text, got the map {}"),
        ("sizes", json!({"s": "x"}), "`payload.sizes.s` takes an integer of 32 bits, got the string \"x\""),
        (
            "next",
            json!({"id": 1}),
            "`payload.next` lacks `count`: `shop.v1.Order` has that field, a `int`, without a default",
        ),
        (
            "payment",
            json!({"nummer": "1"}),
            "`payload.payment` takes one of `null`, `shop.v1.Card`, `shop.v1.Cash`, `string`, got the map \
             {\"nummer\":\"1\"}; as `shop.v1.Card`: has `nummer`, which `shop.v1.Card` has not: did you mean `number`?; as \
             `shop.v1.Cash`: has `nummer`, which `shop.v1.Cash` has not: it has `amount`",
        ),
        (
            "payment",
            json!({"shop.v1.Cash": {"amount": "x"}}),
            "`payload.payment.shop.v1.Cash.amount` takes an integer of 64 bits, got the string \"x\"",
        ),
    ] {
        let mut written = order();
        written[field] = value;
        cases.push((written, expected));
    }
    let mut written = order();
    written["costumer"] = json!("x");
    cases.push((written, "`payload` has `costumer`, which `shop.v1.Order` has not: did you mean `customer`?"));
    cases.push((json!([1]), "`payload` takes a map, a `shop.v1.Order`, got the list [1]"));
    let schema = schema(ORDER);
    for (written, expected) in cases {
        assert_eq!(schema.write(&Value::from_json(written), "payload").unwrap_err(), expected);
    }
}

#[test]
fn bytes_that_are_something_else_are_told() {
    let list = r#"{"type": "array", "items": "null"}"#;
    for (of, bytes, expected) in [
        (r#""long""#, vec![], "`value` is where the message ends too early"),
        (r#""long""#, vec![0x80; 11], "`value` is an integer of more than 64 bits"),
        (r#""int""#, vec![0x80, 0x80, 0x80, 0x80, 0x10], "`value` is 2147483648, which is no int"),
        (r#""string""#, vec![20, b'a'], "`value` is where the message ends too early"),
        (r#""string""#, vec![1], "`value` has the length -1"),
        (r#""string""#, vec![2, 0xff], "`value` is a string that is not UTF-8"),
        (r#""boolean""#, vec![2], "`value` is no boolean: its byte is 2"),
        (r#""int""#, vec![2, 2, 2], "`value` is followed by 2 bytes that its schema does not have"),
        (r#"["null"]"#, vec![4], "`value` is branch 2 of a union that has 1"),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#, vec![2], "`value` is number 1 of `E`, which has 1"),
        (r#"{"type": "array", "items": "string"}"#, vec![4, 2, b'a', 9], "`value[1]` has the length -5"),
        (list, vec![0xfe, 0xff, 0xff, 0xff, 0x0f, 0], "`value` has more than 100000 empty items"),
    ] {
        assert_eq!(schema(of).read(bytes.clone().into(), "value").unwrap_err(), expected, "{of}: {bytes:?}");
    }
    let endless = r#"{"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}"#;
    let error = schema(endless).read(Bytes::new(), "value").unwrap_err();
    assert!(error.ends_with("lies deeper than 100 values"), "{error}");
    // A block may say how many bytes it has, for those who skip it.
    assert_eq!(schema(list).read(vec![3, 0, 0].into(), "value").unwrap().len(), Some(2));
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error_or_a_value() {
    let schema = schema(ORDER);
    let whole = unhex(WRITTEN);
    for end in 0..whole.len() {
        assert!(schema.read(whole.slice(..end), "value").is_err(), "{end}");
    }
    for at in 0..whole.len() * 8 {
        let mut flipped = whole.to_vec();
        flipped[at / 8] ^= 1 << (at % 8);
        let _ = schema.read(flipped.into(), "value");
    }
}

#[test]
fn names_are_found_in_their_namespace_and_in_other_schemas() {
    let money = r#"{"type": "record", "name": "shop.Money", "fields": [{"name": "cents", "type": "long"}]}"#;
    let cart = r#"{"type": "record", "name": "Cart", "namespace": "shop", "fields": [
        {"name": "a", "type": "Money"}, {"name": "b", "type": ["null", "shop.Money"]}]}"#;
    let schema = Schema::parse(cart, &[money]).unwrap();
    let value = Value::from_json(json!({"a": {"cents": 1}, "b": {"cents": 2}}));
    assert_eq!(schema.write(&value, "payload").unwrap(), [2, 2, 4]);
    assert_eq!(Schema::parse("string", &[]).unwrap().write(&Value::from("a"), "payload").unwrap(), [2, b'a']);
}

#[test]
fn a_schema_that_is_none_is_told_with_the_place() {
    for (text, expected) in [
        ("{", "the Avro schema is no JSON: "),
        ("5", "the Avro schema is wrong at `$`: a type is a name, a list or an object"),
        ("[]", "the Avro schema is wrong at `$`: a union of nothing"),
        (r#"{"type": "recrd"}"#, "the Avro schema is wrong at `$`: there is no type `recrd`"),
        (r#"{"type": "array"}"#, "the Avro schema is wrong at `$`: there are no `items`"),
        (r#"{"type": "record", "fields": []}"#, "the Avro schema is wrong at `$`: there is no `name`"),
        (
            r#"{"type": "record", "name": "A", "fields": [{"name": "b", "type": {"type": "map", "values": "C"}}]}"#,
            "the Avro schema is wrong at `$.fields[0].type.values`: there is no type `C`",
        ),
        (
            r#"["null", {"type": "fixed", "name": "F", "size": 1}, {"type": "fixed", "name": "F", "size": 2}]"#,
            "the Avro schema is wrong at `$[2]`: `F` is described twice",
        ),
    ] {
        let error = Schema::parse(text, &[]).unwrap_err();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}
