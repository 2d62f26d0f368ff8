//! Whatever a file holds, importing it ends with flows that validate, or with a reason.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;

const SOURCES: [ImportSource; 4] =
    [ImportSource::Openapi, ImportSource::Postman, ImportSource::Har, ImportSource::Curl];
/// Good files to damage.
const SAMPLES: [(ImportSource, &str); 6] = [
    (ImportSource::Openapi, include_str!("../../../tests/it/import/petstore.openapi")),
    (ImportSource::Openapi, include_str!("../../../tests/it/import/modern.openapi")),
    (ImportSource::Postman, include_str!("../../../tests/it/import/shop.postman")),
    (ImportSource::Postman, include_str!("../../../tests/it/import/old.postman")),
    (ImportSource::Har, include_str!("../../../tests/it/import/browser.har")),
    (ImportSource::Curl, include_str!("../../../tests/it/import/commands.curl")),
];
/// Words that mean something in one of the formats.
const KEYS: &[&str] = &[
    "openapi",
    "paths",
    "/a/{b}",
    "get",
    "post",
    "parameters",
    "name",
    "in",
    "required",
    "schema",
    "type",
    "properties",
    "items",
    "allOf",
    "oneOf",
    "enum",
    "$ref",
    "example",
    "requestBody",
    "content",
    "application/json",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "responses",
    "200",
    "2XX",
    "default",
    "security",
    "components",
    "securitySchemes",
    "scheme",
    "servers",
    "url",
    "variables",
    "tags",
    "operationId",
    "item",
    "request",
    "method",
    "header",
    "key",
    "value",
    "auth",
    "basic",
    "bearer",
    "apikey",
    "body",
    "mode",
    "raw",
    "urlencoded",
    "formdata",
    "graphql",
    "query",
    "event",
    "listen",
    "script",
    "exec",
    "variable",
    "info",
    "description",
    "log",
    "entries",
    "response",
    "status",
    "headers",
    "cookies",
    "postData",
    "mimeType",
    "params",
    "text",
    "username",
    "password",
    "token",
];
const WORDS: &[&str] = &[
    "3.1.0",
    "3.0.0",
    "http://a.b/c?d=e",
    "https://u:p@h/",
    "{{x}}",
    "${x}",
    "{{token}}",
    "path",
    "query",
    "header",
    "cookie",
    "string",
    "integer",
    "object",
    "array",
    "#/paths",
    "#/a",
    "raw",
    "urlencoded",
    "formdata",
    "graphql",
    "basic",
    "bearer",
    "apikey",
    "http",
    "test",
    "pm.response.to.have.status(200);",
    "GET",
    "POST",
    "Bearer abc",
    "application/json",
    "{\"a\": 1}",
    "a=b&c=d",
    "\u{e000}x\u{e001}",
    "a\nb",
    "$",
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
];

/// The flows' texts; panics when one of them does not validate.
fn import(source: ImportSource, text: &str) -> Result<Vec<String>, String> {
    let args =
        ImportArgs { source, file: PathBuf::from("source"), output: None, force: false, group_by: None, assets: false };
    let drafts = drafts(&args, text)?;
    Ok(drafts.iter().map(|draft| draft.write().unwrap_or_else(|reason| panic!("{text}\n{reason}"))).collect())
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        proptest::sample::select(WORDS).prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(7, 80, 6, |inner| {
        let key = prop_oneof![4 => proptest::sample::select(KEYS).prop_map(str::to_owned), 1 => any::<String>()];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            proptest::collection::vec((key, inner), 0..6).prop_map(|entries| Json::Object(Map::from_iter(entries))),
        ]
    })
}

/// Puts something else at the `at`th value of a document.
fn replace(value: &mut Json, at: &mut usize, with: &Json) {
    if *at == 0 {
        *value = with.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| replace(item, at, with)),
        Json::Object(map) => map.values_mut().for_each(|item| replace(item, at, with)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn no_text_is_too_strange(text in any::<String>(), source in proptest::sample::select(&SOURCES[..])) {
        let _ = import(source, &text);
    }

    #[test]
    fn no_command_is_too_strange(words in proptest::collection::vec(prop_oneof![
        proptest::sample::select(WORDS).prop_map(str::to_owned),
        "-{1,2}[a-zA-Z#:]{1,3}",
        proptest::sample::select(&["-X", "-H", "--data", "-d", "-F", "-u", "-G", "--json", "-b", "--next", "-T", "--url", "\n", "'", "\"", "$x", "\\"][..]).prop_map(str::to_owned),
        any::<String>(),
    ], 0..12)) {
        let _ = import(ImportSource::Curl, &format!("curl {}", words.join(" ")));
    }

    #[test]
    fn no_document_is_too_strange(value in any_json(), source in proptest::sample::select(&SOURCES[..3])) {
        let wrapped = match source {
            ImportSource::Openapi => json!({"openapi": "3.1.0", "paths": {"/a/{b}": {"get": value, "post": {"requestBody": value}}}, "components": value}),
            ImportSource::Postman => json!({"item": [{"name": "f", "item": [{"name": "a", "request": value, "event": [value]}]}, value], "variable": value, "auth": value}),
            _ => json!({"log": {"entries": [{"request": value, "response": {"status": 200}}, {"request": {"url": "http://a/b", "postData": value, "headers": value}, "response": {"status": 200, "content": value}}]}}),
        };
        let _ = import(source, &wrapped.to_string());
        let _ = import(source, &value.to_string());
    }

    #[test]
    fn damage_to_a_good_file_is_no_accident(
        (source, text) in proptest::sample::select(&SAMPLES[..]),
        at in any::<proptest::sample::Index>(),
        length in 0_usize..20,
        with in prop_oneof![proptest::sample::select(WORDS).prop_map(str::to_owned), any::<String>()],
        value in any_json(),
    ) {
        let letters: Vec<char> = text.chars().collect();
        let at = at.index(letters.len());
        let damaged: String =
            letters[..at].iter().copied().chain(with.chars()).chain(letters[(at + length).min(letters.len())..].iter().copied()).collect();
        let _ = import(source, &damaged);
        if let Ok(mut document) = document(text) {
            replace(&mut document, &mut (at % 120), &value);
            let _ = import(source, &document.to_string());
        }
    }
}

#[test]
fn good_files_come_to_flows() {
    for (source, text) in SAMPLES {
        let flows = import(source, text).unwrap_or_else(|reason| panic!("{source:?}: {reason}"));
        for flow in flows {
            for secret in ["hunter2", "abcdef0123456789", "9f8e7d", "sid=", "pass=a"] {
                assert!(!flow.contains(secret), "{secret} in {flow}");
            }
        }
    }
}
