//! The OpenAPI document: what the handlers say of themselves, completed with what is true of every route.
//!
//! A handler names its own errors in the extension `x-errors`; their statuses come from the same match that answers
//! them. Errors that any route, any body or any token can cause are added here.

use std::collections::BTreeMap;

use testmesh_runner::event::RunEvent;
use testmesh_shared::error::ErrorCode;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::problem::{MEDIA_TYPE, ProblemBody, status};

const ERRORS: &str = "x-errors";

/// The document before it is completed.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "TestMesh",
        description = "Stores flows (end-to-end tests written as YAML), runs them, and shows what happened. Every \
            error is a problem document (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "flows", description = "Stored flows and their versions."),
        (name = "executions", description = "Runs and what became of them."),
        (name = "batches", description = "Runs that belong together: those of a suite, or of the rows of a flow's data."),
        (name = "environments", description = "Named variables that a run can be given."),
        (name = "schedules", description = "When flows run."),
        (name = "jobs", description = "What schedules fired, and what became of it."),
        (name = "system", description = "The server itself."),
    ),
    components(schemas(ProblemBody, RunEvent)),
    modifiers(&Bearer),
)]
pub(crate) struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A token of the server's tokens file. Scopes: `read` < `run` < `write` < `admin`. A server without tokens \
             listens on loopback only and needs none.",
        ));
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme.build()));
    }
}

/// The API's OpenAPI 3.1 document as JSON, as `/api/openapi.json` answers it.
pub fn document() -> String {
    crate::routes::document().to_pretty_json().expect("the document holds nothing that JSON cannot")
}

/// Adds to every operation the errors it can answer with, and the request id to every response.
pub(crate) fn complete(document: &mut Document) {
    for item in document.paths.paths.values_mut() {
        let methods =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten();
        for operation in methods {
            let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
            for code in errors(operation) {
                let codes = by_status.entry(status::of(code).as_u16()).or_default();
                if !codes.contains(&code) {
                    codes.push(code);
                }
            }
            for (status, codes) in by_status {
                let response = RefOr::T(problem_response(&codes));
                operation.responses.responses.entry(status.to_string()).or_insert(response);
            }
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    let header = HeaderBuilder::new()
                        .schema(Some(Object::with_type(Type::String)))
                        .description(Some("The request's id, as given or made by the server."));
                    response.headers.insert("x-request-id".to_owned(), RefOr::T(header.build()));
                }
            }
        }
    }
}

/// Codes of an operation: those it names itself, and those that come with what it is.
fn errors(operation: &mut Operation) -> Vec<ErrorCode> {
    let named = operation.extensions.as_mut().and_then(|extensions| extensions.remove(ERRORS));
    let named: Vec<ErrorCode> = named.map_or_else(Vec::new, |codes| {
        serde_json::from_value(codes).expect("`x-errors` of a handler is a list of error codes")
    });
    let mut codes = vec![ErrorCode::InvalidRequest, ErrorCode::Forbidden, ErrorCode::Internal];
    let secured = operation.security.as_ref().is_some_and(|requirements| {
        let requirements = serde_json::to_value(requirements).expect("a security requirement is plain JSON");
        requirements.pointer("/0/bearer").is_some()
    });
    if secured {
        codes.push(ErrorCode::Unauthorized);
    }
    if operation.request_body.is_some() {
        codes.extend([ErrorCode::BadRequest, ErrorCode::PayloadTooLarge, ErrorCode::UnsupportedMediaType]);
    }
    let stores = operation.tags.iter().flatten().any(|tag| tag != "system");
    if stores {
        codes.push(ErrorCode::Unavailable);
    }
    codes.extend(named);
    codes
}

fn problem_response(codes: &[ErrorCode]) -> utoipa::openapi::Response {
    let lines: Vec<_> = codes.iter().map(|code| format!("`{code}`: {}.", status::title(*code))).collect();
    ResponseBuilder::new().description(lines.join(" ")).content(MEDIA_TYPE, problem_content(codes)).build()
}

fn problem_content(codes: &[ErrorCode]) -> Content {
    let examples = codes.iter().map(|code| {
        let mut value = serde_json::json!({
            "type": format!("/docs/errors/{code}"),
            "title": status::title(*code),
            "status": status::of(*code).as_u16(),
            "detail": status::title(*code).to_lowercase(),
            "code": code,
            "request_id": "019a0000-0000-7000-8000-000000000000",
        });
        if *code == ErrorCode::InvalidFlow {
            value["diagnostics"] = serde_json::json!([]);
        }
        (code.as_str().to_owned(), RefOr::T(ExampleBuilder::new().value(Some(value)).build()))
    });
    ContentBuilder::new()
        .schema(Some(RefOr::<utoipa::openapi::Schema>::Ref(Ref::from_schema_name("Problem"))))
        .examples_from_iter(examples)
        .build()
}
