//! `contract_generate`: makes a Pact file of interactions, written in the flow or recorded by its mock servers.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use serde_json::{Map as JsonMap, Value as Json, json};

use super::contract::{Contracts, Drafted, FILE_LIMIT, Side, check, is_content, written};
use super::mock::Mocks;
use super::mock::spec::{field, result};
use crate::action::{
    Action, ActionError, ActionResult, ActionSpec, ConfigField, Example, Field, Kind, Mistake, StepConfig,
};
use crate::actions::http_request::file_error;
use crate::engine::{ActionContext, Resolved, entries, items, mismatch};
use crate::files::FileError;
use crate::record::ErrorKind;
use crate::template::Tree;
use crate::value::Value;

/// The version of the specification that most tools read.
const DEFAULT_VERSION: u32 = 3;
/// Held by whoever reads and writes a file.
static MERGING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// The most interactions of a contract.
const MOST: usize = 1_000;

const REQUEST: &[Field] = &[
    Field { default: Some("GET"), ..field("method", Kind::Text, "The method.") },
    Field { default: Some("/"), ..field("path", Kind::Text, "The path.") },
    field("query", Kind::Map(&Kind::Any), "The query's parameters; a list gives a name several values."),
    field("headers", Kind::Map(&Kind::Text), "The headers that matter."),
    field("body", Kind::Any, "The body."),
    RULES,
];

const RESPONSE: &[Field] = &[
    Field {
        aliases: &["status_code"],
        default: Some("200"),
        ..field("status", Kind::Integer { min: 100, max: 599 }, "The status.")
    },
    field("headers", Kind::Map(&Kind::Text), "The headers that matter."),
    Field {
        aliases: &["body_json"],
        ..field("body", Kind::Any, "The body: an example, where there are rules for it.")
    },
    RULES,
];

const RULES: Field = Field {
    aliases: &["matching_rules", "matchers"],
    ..field(
        "rules",
        Kind::Map(&Kind::OneOf(&[Kind::Object(MATCHER), Kind::List(&Kind::Object(MATCHER))])),
        "Matchers by path, as Pact writes them: `$.body.id: {match: integer}`, `$.headers.Location: {match: regex, regex: …}`, \
         of requests also `$.path` and `$.query.page`. A list of matchers holds together (from version 3).",
    )
};

/// The matchers of the specification.
const MATCHERS: &[&str] = &[
    "equality",
    "regex",
    "type",
    "integer",
    "decimal",
    "number",
    "boolean",
    "null",
    "include",
    "date",
    "time",
    "timestamp",
    "datetime",
    "values",
    "contentType",
    "notEmpty",
    "semver",
    "statusCode",
    "arrayContains",
    "eachKey",
    "eachValue",
];

const LENGTH: Kind = Kind::Integer { min: 0, max: i64::MAX };

const MATCHER: &[Field] = &[
    Field { default: Some("type"), ..field("match", Kind::Choice(MATCHERS), "The matcher.") },
    field("regex", Kind::Text, "Of `regex`: the expression, which matches the whole value."),
    field("min", LENGTH, "Of `type`: the fewest items of a list."),
    field("max", LENGTH, "Of `type`: the most items of a list."),
    field("value", Kind::Any, "Of `include` and `contentType`: the text."),
    field("format", Kind::Text, "Of dates and times: the format, as Java writes it: `yyyy-MM-dd'T'HH:mm:ss`."),
    field("date", Kind::Text, "The format of `date`."),
    field("time", Kind::Text, "The format of `time`."),
    field("timestamp", Kind::Text, "The format of `timestamp`."),
    field("status", Kind::Any, "Of `statusCode`: `success`, `clientError` …, or a list of statuses."),
    field("variants", Kind::List(&Kind::Any), "Of `arrayContains`: `{index, rules}` for each."),
    field("rules", Kind::List(&Kind::Any), "Of `eachKey` and `eachValue`: the matchers."),
    field("matchers", Kind::List(&Kind::Any), "Several matchers instead of one, with `combine`."),
    field("combine", Kind::Choice(&["AND", "OR"]), "Whether all of `matchers` must hold, or one."),
];

const GIVEN: Kind = Kind::List(&Kind::OneOf(&[
    Kind::Text,
    Kind::Object(&[
        Field { required: true, ..field("name", Kind::Text, "The state.") },
        field("params", Kind::Map(&Kind::Any), "Its parameters."),
    ]),
]));

const INTERACTION: &[Field] = &[
    Field { required: true, ..field("description", Kind::Text, "What the consumer asks for: `a request for user 1`.") },
    Field {
        aliases: &["provider_states", "provider_state", "states"],
        ..field("given", GIVEN, "What must be so at the provider: names, or `{name, params}`.")
    },
    field("request", Kind::Object(REQUEST), "What the consumer sends."),
    field("response", Kind::Object(RESPONSE), "What the provider answers."),
];

static SPEC: ActionSpec = ActionSpec {
    name: "contract_generate",
    aliases: &[],
    summary: "Makes a contract (a Pact file) of interactions.",
    description: "The interactions are those of `interactions` and, when there are none, what the run's mock servers have \
                  been asked and have answered so far: each request once, without those that no endpoint answered or a fault \
                  befell, with the headers that are about content. Examples are held against their own rules.\n\nThe \
                  contract is known to later steps by its `contract_id`; `file` writes it, too. Where flows may read files, \
                  they may write them below the same folder. Secrets are written as `***`.",
    config: &[
        Field { required: true, ..field("consumer", Kind::Text, "Who asks.") },
        Field { required: true, ..field("provider", Kind::Text, "Who answers.") },
        field("version", Kind::Text, "The consumer's version, for the contract's id."),
        Field {
            aliases: &["spec_version"],
            default: Some("3"),
            ..field("specification", Kind::Integer { min: 2, max: 4 }, "The version of the Pact specification.")
        },
        field("interactions", Kind::List(&Kind::Object(INTERACTION)), "The interactions."),
        Field {
            aliases: &["provider_states", "provider_state", "states"],
            ..field("given", GIVEN, "The provider states of interactions that name none, recorded ones among them.")
        },
        Field {
            aliases: &["server", "mock"],
            default: Some("all of the run"),
            ..field(
                "server_id",
                Kind::Text,
                "The mock server whose requests are taken, when there are no `interactions`.",
            )
        },
        Field {
            default: Some("false"),
            ..field("match_types", Kind::Boolean, "Whether recorded JSON bodies are held to their types alone.")
        },
        Field {
            aliases: &["output_file", "path"],
            ..field("file", Kind::Text, "Where to write it, relative to the flow file. Its folder must be there.")
        },
        Field {
            default: Some("false"),
            ..field(
                "merge",
                Kind::Boolean,
                "Whether interactions that `file` has already stay, but for those of the same description and states.",
            )
        },
        field("export_json", Kind::Boolean, "Taken for the sake of older files: `contract` is always in the result."),
    ],
    open_config: false,
    result: &[
        result("contract_id", "string", "What `contract_verify` names it by: consumer, provider and version."),
        result("contract", "map", "The Pact file's contents."),
        result("interactions", "integer", "How many interactions it has."),
        result("file", "string", "Where it was written; null when it was not."),
    ],
    open_result: false,
    reserved: &[],
    examples: &[
        Example {
            title: "Of what a mock server was asked",
            yaml: "- id: users\n  action: mock_server_start\n  config: {endpoints: [{path: /users/:id, response: {body: {id: 1, name: Ada}}}]}\n- action: http_request\n  config: {url: \"${users.base_url}/users/1\"}\n- id: contract\n  action: contract_generate\n  config:\n    consumer: web\n    provider: users\n    version: 1.0.0\n    match_types: true\n  assert:\n    - interactions == 1\n",
        },
        Example {
            title: "Added to a file that other flows write, too",
            yaml: "- action: contract_generate\n  config:\n    consumer: web\n    provider: users\n    server_id: users\n    given: a user exists\n    file: web-users.json\n    merge: true\n",
        },
        Example {
            title: "Written out, with matchers and a provider state",
            yaml: "- action: contract_generate\n  config:\n    consumer: web\n    provider: users\n    specification: 4\n    interactions:\n      - description: a request for user 1\n        given: [{name: a user exists, params: {id: 1}}]\n        request: {path: /users/1}\n        response:\n          status: 200\n          headers: {Content-Type: application/json}\n          body: {id: 1, born: \"1815-12-10\"}\n          rules:\n            $.body.id: {match: integer}\n            $.body.born: {match: date, format: yyyy-MM-dd}\n",
        },
    ],
};

/// The action.
pub(crate) struct ContractGenerate;

#[async_trait]
impl Action for ContractGenerate {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn mistakes(&self, config: &StepConfig) -> Vec<Mistake> {
        let written_out = |key: &str| match config.get(key) {
            Some(ConfigField::Tree(tree)) => Some(tree),
            _ => None,
        };
        let specification = written_out("specification").and_then(|tree| match tree {
            Tree::Const(value) => value.to_text()?.parse().ok(),
            _ => None,
        });
        let interactions = written_out("interactions").and_then(Tree::items).unwrap_or_default();
        let mistake = |(item, tree): (usize, Tree)| {
            let Tree::Const(value) = tree else { return None };
            let drafted = interaction(&value).map_err(|error| error.message);
            let wrong = drafted.and_then(|drafted| check(&drafted, specification.unwrap_or(DEFAULT_VERSION))).err();
            wrong.map(|message| Mistake { key: Some("interactions"), item: Some(item), message })
        };
        interactions.into_iter().enumerate().filter_map(mistake).collect()
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let (consumer, provider) = (config.required_text("consumer")?, config.required_text("provider")?);
        let version = config.text("version")?;
        let specification = config.integer("specification")?;
        let specification = specification.map_or(DEFAULT_VERSION, |version| u32::try_from(version).unwrap_or_default());
        if !(2..=4).contains(&specification) {
            return Err(refuse("`specification` takes 2, 3 or 4".to_owned()));
        }
        let listed = config.list("interactions")?;
        let mut drafted = if listed.is_empty() { recorded(cx, &config)? } else { written_out(&listed, specification)? };
        if drafted.is_empty() {
            let message =
                "there are no interactions: give `interactions`, or let a mock server of the run answer some requests";
            return Err(refuse(message.to_owned()));
        }
        let given = states(&config)?;
        drafted
            .iter_mut()
            .filter(|drafted| drafted.states.is_empty())
            .for_each(|drafted| drafted.states.clone_from(&given));
        let mut contract = written(&consumer, &provider, specification, &drafted);
        let file = config.text("file")?;
        if let Some(file) = &file {
            // Flows run side by side: what one adds must not be lost to another.
            let _alone = MERGING.lock().await;
            if config.boolean("merge")?.unwrap_or(false) {
                merge(cx, file, &mut contract).await?;
            }
            write(cx, file, &contract).await?;
        }
        let id = [Some(&consumer), Some(&provider), version.as_ref()].into_iter().flatten();
        let id = id.map(|part| &**part).collect::<Vec<_>>().join("-");
        Contracts::of(cx).keep(&id, contract.clone());
        let result = Value::map([
            ("contract_id", Value::from(id)),
            ("interactions", Value::from(contract["interactions"].as_array().map_or(0, Vec::len))),
            ("contract", Value::from_json(contract)),
            ("file", file.map_or(Value::Null, Value::Text)),
        ]);
        Ok(ActionResult { response: result.clone().into(), result, ..ActionResult::default() })
    }
}

fn refuse(message: String) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

/// Takes over the interactions that a file has and the contract has not.
async fn merge(cx: &ActionContext<'_>, file: &str, contract: &mut Json) -> Result<(), ActionError> {
    let text = match cx.files().read(file, FILE_LIMIT).await {
        Ok(text) => text,
        Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file_error(&error)),
    };
    let wrong = |reason: String| refuse(format!("`{file}` cannot be merged with: {reason}"));
    let old: Json = serde_json::from_slice(&text).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
    for (what, pointer) in [
        ("consumer", "/consumer/name"),
        ("provider", "/provider/name"),
        ("version of the specification", "/metadata/pactSpecification/version"),
    ] {
        let (there, here) = (old.pointer(pointer), contract.pointer(pointer));
        if there != here {
            let shown = |json: Option<&Json>| json.map_or_else(|| "none".to_owned(), ToString::to_string);
            return Err(wrong(format!("its {what} is {}, not {}", shown(there), shown(here))));
        }
    }
    let name = |interaction: &Json| {
        let states = interaction.get("providerStates").or_else(|| interaction.get("providerState"));
        (interaction["description"].clone(), states.cloned())
    };
    if let (Some(old), Some(new)) = (old["interactions"].as_array(), contract["interactions"].as_array_mut()) {
        let stay: Vec<Json> = old.iter().filter(|old| new.iter().all(|new| name(new) != name(old))).cloned().collect();
        new.splice(0..0, stay);
    }
    Ok(())
}

async fn write(cx: &ActionContext<'_>, file: &str, contract: &Json) -> Result<(), ActionError> {
    let failed = |error: &std::io::Error| refuse(format!("cannot write `{file}`: {error}"));
    let path = cx.files().resolve_new(file).map_err(|error| match &error {
        FileError::Io { source, .. } => failed(source),
        _ => file_error(&error),
    })?;
    let mut contract = contract.clone();
    cx.mask(&mut contract);
    let written = tokio::fs::write(path, format!("{contract:#}\n")).await;
    written.map_err(|error| failed(&error))
}

/// What the run's mock servers have answered, each kind of request once.
fn recorded(cx: &ActionContext<'_>, config: &Resolved) -> Result<Vec<Drafted>, ActionError> {
    let mocks = Mocks::of(cx);
    let servers = if config.text("server_id")?.is_some() { vec![mocks.find(config)?] } else { mocks.all() };
    let by_type = config.boolean("match_types")?.unwrap_or(false);
    let mut seen = HashSet::new();
    let mut described = HashMap::new();
    let mut drafted = Vec::new();
    for exchange in servers.iter().flat_map(|server| server.exchanges()) {
        let body = exchange.request_body.as_ref().map(ToString::to_string);
        if !seen.insert((exchange.method.clone(), exchange.url.clone(), body)) {
            continue;
        }
        if drafted.len() >= MOST {
            return Err(refuse(format!("the mock servers have answered more than {MOST} kinds of requests")));
        }
        let is_json = exchange.answered.body.as_ref().is_some_and(|body| body.is_object() || body.is_array());
        let mut rules = JsonMap::new();
        if by_type && is_json {
            rules.insert("$.body".to_owned(), json!({ "match": "type" }));
        }
        let base = format!("{} {} ({})", exchange.method, exchange.url, exchange.answered.status);
        let n_alike = described.entry(base.clone()).and_modify(|n| *n += 1).or_insert(1);
        drafted.push(Drafted {
            description: if *n_alike == 1 { base } else { format!("{base}, {n_alike}") },
            states: Vec::new(),
            request: Side {
                method: exchange.method,
                path: exchange.path,
                query: exchange.query,
                headers: exchange.request_headers.into_iter().filter(|(name, value)| is_content(name, value)).collect(),
                body: exchange.request_body,
                rules: JsonMap::new(),
            },
            response: Side {
                headers: exchange.answered.headers,
                body: exchange.answered.body,
                rules,
                ..Side::default()
            },
            status: exchange.answered.status,
        });
    }
    Ok(drafted)
}

fn written_out(listed: &[Value], specification: u32) -> Result<Vec<Drafted>, ActionError> {
    if listed.len() > MOST {
        return Err(refuse(format!("a contract has {MOST} interactions at most, not {}", listed.len())));
    }
    let mut drafted: Vec<Drafted> = Vec::with_capacity(listed.len());
    for (index, item) in listed.iter().enumerate() {
        let at = |message: &str| format!("`interactions[{index}]`: {message}");
        let one = interaction(item).map_err(|error| ActionError { message: at(&error.message), ..error })?;
        check(&one, specification).map_err(|reason| refuse(at(&reason)))?;
        if drafted.iter().any(|other| other.description == one.description && other.states == one.states) {
            let message = format!("another one is called `{}` in the same provider states", one.description);
            return Err(refuse(at(&message)));
        }
        drafted.push(one);
    }
    Ok(drafted)
}

fn interaction(item: &Value) -> Result<Drafted, ActionError> {
    let fields = entries(item).ok_or_else(|| mismatch("interactions", "a list of maps", item))?;
    let config = Resolved::new(fields.into_iter().collect());
    let request = config.section("request")?.unwrap_or_default();
    let response = config.section("response")?.unwrap_or_default();
    let status = response.integer("status")?.unwrap_or(200);
    Ok(Drafted {
        description: config.required_text("description")?.to_string(),
        states: states(&config)?,
        request: Side {
            method: request.text("method")?.map_or_else(|| "GET".to_owned(), |method| method.to_ascii_uppercase()),
            path: request.text("path")?.map_or_else(|| "/".to_owned(), String::from),
            query: query(&request)?,
            ..side(&request)?
        },
        response: side(&response)?,
        status: u16::try_from(status).map_err(|_| mismatch("status", "a status", &Value::Int(status)))?,
    })
}

/// The provider states of `given`.
fn states(config: &Resolved) -> Result<Vec<Json>, ActionError> {
    let given = config.list("given")?.into_iter().map(|state| match state.to_json() {
        map @ Json::Object(_) => map,
        name => json!({ "name": name }),
    });
    Ok(given.collect())
}

fn query(request: &Resolved) -> Result<Vec<(String, String)>, ActionError> {
    let mut pairs = Vec::new();
    for (name, value) in &request.map("query")? {
        for value in items(value).unwrap_or_else(|| vec![value.clone()]) {
            pairs.push((name.to_string(), value.to_text().unwrap_or_default().to_string()));
        }
    }
    Ok(pairs)
}

fn side(config: &Resolved) -> Result<Side, ActionError> {
    let headers = config.map("headers")?;
    let headers =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_text().unwrap_or_default().to_string()));
    let rules: JsonMap<String, Json> =
        config.map("rules")?.iter().map(|(path, rule)| (path.to_string(), rule.to_json())).collect();
    Ok(Side { headers: headers.collect(), body: config.value("body").map(Value::to_json), rules, ..Side::default() })
}
