//! What each route allows, read from the OpenAPI document: its scope and its query parameters.
//!
//! The document is generated from the handlers, so a route cannot be served without being in it; a route that says
//! nothing about its scope is refused when the table is built.

use std::collections::HashMap;
use std::str::FromStr;

use axum::http::Method;
use utoipa::openapi::path::{HttpMethod, Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::{OpenApi, RefOr};

use crate::auth::scope::Scope;

/// Every route with its methods.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    paths: HashMap<String, Vec<Rule>>,
}

/// What one method of one path allows.
#[derive(Debug)]
pub(crate) struct Rule {
    method: Method,
    /// What a token needs to call it; none: it is public.
    pub(crate) scope: Option<Scope>,
    /// Query parameters it reads.
    pub(crate) query: Vec<QueryParameter>,
}

/// A query parameter.
#[derive(Debug)]
pub(crate) struct QueryParameter {
    pub(crate) name: String,
    /// Whether it may be given more than once.
    pub(crate) repeats: bool,
}

impl RouteTable {
    /// The table of `document`.
    pub(crate) fn read(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter().map(|(path, item)| (path.clone(), rules(path, item))).collect();
        Self { paths }
    }

    /// The rule for `method` of the route `path` (a template such as `/api/v1/flows/{id}`). `HEAD` is `GET` without a
    /// body.
    pub(crate) fn rule(&self, path: &str, method: &Method) -> Option<&Rule> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.paths.get(path)?.iter().find(|rule| rule.method == *method)
    }
}

/// The operations of a path with their methods.
pub(crate) fn operations(item: &PathItem) -> impl Iterator<Item = (HttpMethod, &Operation)> {
    [
        (HttpMethod::Get, &item.get),
        (HttpMethod::Put, &item.put),
        (HttpMethod::Post, &item.post),
        (HttpMethod::Delete, &item.delete),
        (HttpMethod::Patch, &item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn rules(path: &str, item: &PathItem) -> Vec<Rule> {
    operations(item)
        .map(|(method, operation)| Rule {
            method: axum_method(&method),
            scope: scope(path, operation),
            query: query(operation),
        })
        .collect()
}

fn axum_method(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}

fn scope(path: &str, operation: &Operation) -> Option<Scope> {
    let requirements = operation.security.as_ref().unwrap_or_else(|| panic!("`{path}` says nothing about its scope"));
    let value = serde_json::to_value(requirements).expect("a security requirement is plain JSON");
    let word = value.pointer("/0/bearer/0").and_then(serde_json::Value::as_str)?;
    Some(Scope::from_str(word).unwrap_or_else(|error| panic!("`{path}`: {error}")))
}

fn query(operation: &Operation) -> Vec<QueryParameter> {
    let parameters = operation.parameters.iter().flatten();
    parameters
        .filter_map(|parameter| match parameter {
            RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(QueryParameter {
                name: parameter.name.clone(),
                repeats: parameter.schema.as_ref().is_some_and(is_list),
            }),
            _ => None,
        })
        .collect()
}

fn is_list(schema: &RefOr<Schema>) -> bool {
    let holds_list = |kind: &SchemaType| match kind {
        SchemaType::Type(kind) => *kind == Type::Array,
        SchemaType::Array(kinds) => kinds.contains(&Type::Array),
        SchemaType::AnyValue => false,
    };
    matches!(schema, RefOr::T(Schema::Array(list)) if holds_list(&list.schema_type))
}
