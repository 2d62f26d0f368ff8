//! `matches_openapi` in flows, against a mock server that keeps to a document or not.

use std::fmt::Write as _;

use testmesh_runner::files::Files;

use crate::mocks::told;
use crate::run::{Setting, run_steps_in};

const V30: &str = r##"
openapi: 3.0.3
info: {title: shop, version: "1"}
servers: [{url: "http://localhost/v1"}]
paths:
  /users/{id}:
    get:
      operationId: getUser
      responses:
        "200":
          description: a user
          headers:
            X-Rate: {required: true, schema: {type: integer}}
          content:
            application/json: {schema: {$ref: "#/components/schemas/User"}}
        4XX: {$ref: "#/components/responses/Problem"}
    delete:
      responses:
        "204": {description: gone}
  /text:
    get:
      responses:
        default:
          description: text
          content: {"text/*": {schema: {type: string, maxLength: 5}}}
components:
  responses:
    Problem:
      description: a problem
      content: {application/problem+json: {schema: {type: object, required: [title], properties: {title: {type: string}}}}}
  schemas:
    User:
      type: object
      required: [id, name, password]
      properties:
        id: {type: integer, minimum: 0, exclusiveMinimum: true}
        name: {type: string, nullable: true}
        born: {type: string, format: date}
        password: {type: string, writeOnly: true}
        friends: {type: array, items: {$ref: "#/components/schemas/User"}}
"##;

const V31: &str = r##"{"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": {
"/empty": {"get": {"responses": {"default": {"description": "nothing", "content": {}}}}},
"/users/{id}": {
"post": {"responses": {"404": {"description": "there is no word of a body"}}},
"get": {"responses": {"200": {"description": "a user", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/User"}}}}}}}},
"components": {"schemas": {"User": {"type": "object", "properties": {"name": {"type": ["string", "null"]}, "kind": {"const": "user"}}}}}}"##;

/// The message of a step whose answer is `response`.
async fn message(path: &str, response: &str, config: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("v30.yaml"), V30).unwrap();
    std::fs::write(folder.path().join("v31.json"), V31).unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "openapi: 3.1.0\npaths: {/a: {$ref: other.yaml}}\n").unwrap();
    let files = Files { base: folder.path().into(), root: None, enabled: true };
    let steps = format!(
        "- {{id: m, action: mock_server_start, config: {{endpoints: [{{response: {response}}}]}}}}\n\
         - {{id: r, action: http_request, config: {{url: '${{m.base_url}}{path}', {config}}}, assert: [status < 500], output: {{s: status}}}}"
    );
    let records = run_steps_in(&steps, Setting { files, ..Setting::default() }).await;
    told(&records[1..]).trim().to_owned()
}

const USER: &str =
    "{headers: {x-rate: 5}, body: {id: 1, name: null, born: '1815-12-10', friends: [{id: 2, name: Bob}]}}";
const BY_V30: &str = "matches_openapi: v30.yaml";

/// Path, the mock's response, the rest of the step's configuration, and what the step comes to.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("/v1/users/7", USER, BY_V30, "r passed"),
    ("/users/7?a=b", USER, BY_V30, "r passed"),
    (
        "/users/7",
        "{status: 404, headers: {content-type: application/problem+json}, body: {title: none}}",
        BY_V30,
        "r passed",
    ),
    ("/users/7", "{status: 204}", "method: DELETE, matches_openapi: v30.yaml", "r passed"),
    ("/text", "{body: hello}", BY_V30, "r passed"),
    ("/elsewhere", USER, "matches_openapi: {file: v30.yaml, operation: getUser}", "r passed"),
    ("/users/7", "{body: {name: null, kind: user}}", "matches_openapi: v31.json", "r passed"),
    (
        "/users/7",
        "{body: {name: 1, kind: admin}}",
        "matches_openapi: v31.json",
        "body `/name`: want null or string, but got number (`/components/schemas/User/properties/name/type`); body `/kind`: ",
    ),
    (
        "/users/7",
        "{headers: {x-rate: many}, body: {id: 0, name: Ada, born: soon, friends: [{id: 1}]}}",
        BY_V30,
        "r failed: the answer does not match GET /users/{id} of `v30.yaml`: header `X-Rate` `/`: want integer, but got string (`/paths/~1users~1{id}/get/responses/200/headers/X-Rate/schema/type`); ",
    ),
    (
        "/users/7",
        "{headers: {x-rate: 1}, body: {id: 0, name: Ada}}",
        BY_V30,
        "body `/id`: must be > 0 but got 0 (`/components/schemas/User/properties/id/exclusiveMinimum`)",
    ),
    (
        "/users/7",
        "{headers: {x-rate: 1}, body: {id: 1, name: a, friends: [{id: 1}]}}",
        BY_V30,
        "body `/friends/0`: missing properties 'name' (`/components/schemas/User/required`)",
    ),
    (
        "/users/7",
        "{body: {id: 1, name: a}}",
        BY_V30,
        "header `X-Rate` is missing (`/paths/~1users~1{id}/get/responses/200/headers/X-Rate/required`)",
    ),
    (
        "/users/7",
        "{status: 302}",
        "follow_redirects: false, matches_openapi: v30.yaml",
        "status 302 is none of 200, 4XX (`/paths/~1users~1{id}/get/responses`)",
    ),
    (
        "/users/7",
        "{headers: {x-rate: 1}, body: hello}",
        BY_V30,
        "content type `text/plain` is none of application/json",
    ),
    (
        "/users/7",
        "{headers: {x-rate: 1, content-type: application/json}, body_text: '{'}",
        BY_V30,
        "the body is not JSON",
    ),
    (
        "/users/7",
        "{status: 404, headers: {content-type: application/problem+json}, body: {}}",
        BY_V30,
        "missing properties 'title' (`/components/responses/Problem/content/application~1problem+json/schema/required`)",
    ),
    ("/text", "{body: too long}", BY_V30, "maxLength"),
    (
        "/orders",
        "{body: a}",
        BY_V30,
        "the answer does not match any operation of `v30.yaml`: no path fits GET /orders (`/paths`)",
    ),
    ("/text", "{body: a}", "method: PUT, matches_openapi: v30.yaml", "no operation is for PUT /text, but GET /text"),
    ("/text", "{status: 500, body: too long}", BY_V30, "2 of 2 assertions failed, first: the answer does not match"),
    (
        "/a",
        "{body: a}",
        "matches_openapi: bad.yaml",
        "r error: `matches_openapi` `bad.yaml`: `/paths/~1a` refers to `other.yaml`, which is another document",
    ),
    ("/users/7", "{status: 500, body: a}", "matches_openapi: v31.json", "status 500 is none of 200"),
    ("/users/7", "{status: 404, body: a}", "method: POST, matches_openapi: v31.json", "r passed"),
    ("/empty", "{body: a}", "matches_openapi: v31.json", "a body of 1 bytes, where there is none"),
    (
        "/users/7",
        "{body: a}",
        "stream: true, count: 1, matches_openapi: v31.json",
        "r error: `matches_openapi` `v31.json`: a stream of events is not held against a document",
    ),
    ("/a", "{body: a}", "matches_openapi: none.yaml", "r error: cannot read `none.yaml`"),
];

#[tokio::test]
async fn an_answer_is_held_against_its_operation() {
    let mut wrong = String::new();
    for (path, response, config, expect) in CASES {
        let found = message(path, response, config).await;
        if !found.contains(expect) {
            write!(wrong, "{path} {response} {config}\n{found}\ninstead of\n{expect}\n\n").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
