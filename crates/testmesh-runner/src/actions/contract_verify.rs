//! `contract_verify`: asks a provider everything that a contract says, and fails when an answer is another.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request};
use serde_json::{Map as JsonMap, Value as Json, json};
use testmesh_shared::http::{ConnectionOptions, FullResponse, HttpClient, request_uri};
use url::Url;

use super::contract::{Body, Contracts, Difference, FILE_LIMIT, Interaction, Pact, Sources, differences};
use super::http_request::{HttpSession, chain, file_error, header, kind_of, parse_url};
use super::mock::spec::{field, result};
use crate::action::{
    Action, ActionError, ActionResult, ActionSpec, ConfigField, Example, Field, Kind, Mistake, StepConfig,
};
use crate::engine::{ActionContext, Resolved, Stopped};
use crate::record::{AssertionRecord, ErrorKind};
use crate::template::Tree;
use crate::value::Value;

/// The keys that name a contract.
const SOURCES: &[&str] = &["contract_id", "file", "pact"];
const ONE_SOURCE: &str = "`contract_verify` takes exactly one of `contract_id`, `file` and `pact`";
/// Bytes of an answer.
const ANSWER_LIMIT: u64 = 10 << 20;
/// For each request.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Differences of one interaction that the message tells.
const TOLD: usize = 10;

static SPEC: ActionSpec = ActionSpec {
    name: "contract_verify",
    aliases: &[],
    summary: "Holds a provider against a contract (a Pact file).",
    description: "Sends the request of every HTTP interaction to the provider, and compares the answer by the contract's \
                  matching rules: Pact files of version 2, 3 and 4. What an answer has beside that is fine. The step fails \
                  when an interaction does, and says for each what differs and where; a pending interaction (version 4) may \
                  fail. Interactions that are none over HTTP (messages) are left out, and named in `skipped`.\n\nBefore each \
                  interaction its provider states are set up: by a `POST` of `{state, params, consumer, action: setup}` to \
                  `states_url`, by the steps of `states`, which see `state` and `params`, or both. Values that the answer of \
                  `states_url` has, or that those steps capture, fill in what the contract's generators take from a \
                  provider state; other generators draw or tell the time.",
    config: &[
        field("contract_id", Kind::Text, "A contract that this run has made."),
        Field {
            aliases: &["pact_file", "path"],
            ..field("file", Kind::Text, "A Pact file, relative to the flow file.")
        },
        Field { aliases: &["contract"], ..field("pact", Kind::Map(&Kind::Any), "The contents of a Pact file.") },
        Field {
            aliases: &["base_url", "provider_url", "url"],
            required: true,
            ..field("provider_base_url", Kind::Text, "Where the provider is.")
        },
        field("provider_version", Kind::Text, "The provider's version, for the result."),
        field("headers", Kind::Map(&Kind::Text), "Headers for every request, instead of the contract's own: a token."),
        Field {
            aliases: &["provider_states_url", "provider_states_setup_url", "state_change_url"],
            ..field("states_url", Kind::Text, "Where provider states are set up.")
        },
        Field {
            default: Some("false"),
            ..field(
                "states_teardown",
                Kind::Boolean,
                "Whether `states_url` is also told of the end (`action: teardown`).",
            )
        },
        Field {
            aliases: &["provider_states"],
            ..field(
                "states",
                Kind::Steps,
                "Steps that set up a provider state: they see its name as `state`, and `params`.",
            )
        },
        field("only", Kind::List(&Kind::Text), "Only interactions whose description has one of these texts in it."),
        Field { default: Some("10s"), ..field("request_timeout", Kind::Duration { zero: false }, "For each request.") },
    ],
    open_config: false,
    result: &[
        result("status", "string", "`passed` or `failed`."),
        result("verified", "boolean", "Whether every interaction passed that is not pending."),
        result("consumer", "string", "Who asks."),
        result("provider", "string", "Who answers."),
        result("provider_version", "string", "As configured."),
        result(
            "interactions",
            "list",
            "One map for each: `description`, `passed`, `pending`, `status`, and `differences`, each with `path`, `expected`, \
             `actual`.",
        ),
        result("passed", "integer", "How many interactions passed."),
        result("failed", "integer", "How many did not."),
        result("skipped", "list", "Interactions that were left out: `description`, and `reason`."),
    ],
    open_result: false,
    reserved: &[],
    examples: &[
        Example {
            title: "A contract of this run",
            yaml: "- id: users\n  action: mock_server_start\n  config: {endpoints: [{path: /users/1, response: {body: {id: 1, name: Ada}}}]}\n- action: contract_generate\n  config:\n    consumer: web\n    provider: users\n    interactions:\n      - description: a request for user 1\n        request: {path: /users/1}\n        response: {body: {id: 7}, rules: {$.body.id: {match: integer}}}\n- action: contract_verify\n  config:\n    contract_id: web-users\n    provider_base_url: ${users.base_url}\n  assert:\n    - passed == 1\n",
        },
        Example {
            title: "A file, with states that steps set up",
            yaml: "- action: contract_verify\n  config:\n    file: pacts/web-users.json\n    provider_base_url: http://localhost:8080\n    states:\n      - action: http_request\n        when: state == \"a user exists\"\n        config:\n          method: PUT\n          url: http://localhost:8080/users/${params.id}\n          body: {name: Ada}\n",
        },
    ],
};

/// The action.
pub(crate) struct ContractVerify;

#[async_trait]
impl Action for ContractVerify {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    fn runs_steps(&self) -> bool {
        true
    }

    fn mistakes(&self, config: &StepConfig) -> Vec<Mistake> {
        let given = |key: &&str| !matches!(config.get(key), None | Some(ConfigField::Tree(Tree::Const(Value::Null))));
        if SOURCES.iter().filter(|key| given(key)).count() != 1 {
            return vec![Mistake { key: None, item: None, message: ONE_SOURCE.to_owned() }];
        }
        let Some(ConfigField::Tree(Tree::Const(pact))) = config.get("pact") else { return Vec::new() };
        let wrong = Pact::read(&pact.to_json()).err();
        wrong.map(|message| Mistake { key: Some("pact"), item: None, message }).into_iter().collect()
    }

    async fn run(&self, cx: &ActionContext<'_>) -> Result<ActionResult, ActionError> {
        let config = cx.resolve()?;
        let (source, pact) = contract(cx, &config).await?;
        let verifying = Verifying::read(cx, &config, &pact)?;
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            pact.interactions.iter().partition(|interaction| verifying.wants(interaction));
        if wanted.is_empty() {
            return Err(refuse(nothing_to_verify(&source, &pact, unwanted.len())));
        }
        let mut outcomes = Vec::with_capacity(wanted.len());
        for interaction in wanted {
            if cx.stop().given() {
                return Err(Stopped.into());
            }
            outcomes.push(verifying.interaction(interaction).await?);
        }
        cx.note_assertions(outcomes.iter().map(|outcome| outcome.record(cx.step.line)).collect());
        let left_out =
            unwanted.iter().map(|interaction| (interaction.description.as_str(), "not in `only`".to_owned()));
        let others =
            pact.others.iter().map(|other| (other.description.as_str(), format!("`{}` is not HTTP", other.kind)));
        let skipped = left_out.chain(others).map(|(description, reason)| {
            Value::map([("description", Value::from(description)), ("reason", Value::from(reason))])
        });
        verdict(&source, &pact, &config, &outcomes, Value::list(skipped.collect()))
    }
}

fn nothing_to_verify(source: &str, pact: &Pact, n_unwanted: usize) -> String {
    let mut reasons = Vec::new();
    if n_unwanted > 0 {
        reasons.push(format!("none of its {n_unwanted} is in `only`"));
    }
    if let Some(other) = pact.others.first() {
        reasons.push(format!(
            "{} not over HTTP (`{}`, of type `{}`)",
            pact.others.len(),
            other.description,
            other.kind
        ));
    }
    let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
    format!("{source} has no interaction to verify{why}")
}

fn refuse(message: String) -> ActionError {
    ActionError::new(ErrorKind::Config, message)
}

/// The one contract that the step names, and what to call it.
async fn contract(cx: &ActionContext<'_>, config: &Resolved) -> Result<(String, Pact), ActionError> {
    let (id, file) = (config.text("contract_id")?, config.text("file")?);
    let inline = config.value("pact").filter(|pact| !pact.is_null());
    let (source, read) = match (id, file, inline) {
        (Some(id), None, None) => {
            let made = Contracts::of(cx).find(&id);
            let made = made.map_err(|there| refuse(format!("there is no contract `{id}`: {there}")))?;
            (format!("contract `{id}`"), Pact::read(&made))
        }
        (None, Some(file), None) => {
            let text = cx.files().read(&file, FILE_LIMIT).await.map_err(|error| file_error(&error))?;
            (format!("`{file}`"), Pact::parse(&text))
        }
        (None, None, Some(inline)) => ("`pact`".to_owned(), Pact::read(&inline.to_json())),
        _ => return Err(refuse(ONE_SOURCE.to_owned())),
    };
    let pact = read.map_err(|reason| refuse(format!("{source}: {reason}")))?;
    Ok((source, pact))
}

/// What every interaction is verified with.
struct Verifying<'a> {
    cx: &'a ActionContext<'a>,
    client: HttpClient,
    consumer: &'a str,
    base: String,
    headers: HeaderMap,
    states_url: Option<Url>,
    states_teardown: bool,
    only: Vec<String>,
    timeout: Duration,
}

/// What an interaction came to.
struct Outcome {
    description: String,
    pending: bool,
    status: Option<u16>,
    differences: Vec<Difference>,
}

impl Outcome {
    fn passed(&self) -> bool {
        self.differences.is_empty()
    }

    /// What differs, in one line.
    fn told(&self) -> String {
        let told: Vec<String> = self.differences.iter().take(TOLD).map(ToString::to_string).collect();
        let more = self.differences.len().saturating_sub(TOLD);
        if more > 0 { format!("{}; {more} more", told.join("; ")) } else { told.join("; ") }
    }

    fn record(&self, line: u32) -> AssertionRecord {
        AssertionRecord {
            expression: self.description.as_str().into(),
            passed: self.passed() || self.pending,
            actual: None,
            expected: None,
            message: (!self.passed()).then(|| self.told()),
            line,
        }
    }

    fn value(&self) -> Value {
        let differences = self.differences.iter().map(|difference| {
            Value::map([
                ("path", Value::from(difference.path.as_str())),
                ("expected", Value::from(difference.expected.as_str())),
                ("actual", Value::from(difference.actual.as_str())),
            ])
        });
        Value::map([
            ("description", Value::from(self.description.as_str())),
            ("passed", Value::Bool(self.passed())),
            ("pending", Value::Bool(self.pending)),
            ("status", self.status.map_or(Value::Null, |status| Value::Int(i64::from(status)))),
            ("differences", Value::list(differences.collect())),
        ])
    }
}

fn verdict(
    source: &str,
    pact: &Pact,
    config: &Resolved,
    outcomes: &[Outcome],
    skipped: Value,
) -> Result<ActionResult, ActionError> {
    let n_passed = outcomes.iter().filter(|outcome| outcome.passed()).count();
    let failures: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.passed() && !outcome.pending).collect();
    let status = if failures.is_empty() { "passed" } else { "failed" };
    let result = Value::map([
        ("status", Value::from(status)),
        ("verified", Value::Bool(failures.is_empty())),
        ("consumer", Value::from(pact.consumer.as_str())),
        ("provider", Value::from(pact.provider.as_str())),
        ("provider_version", config.text("provider_version")?.map_or(Value::Null, Value::Text)),
        ("interactions", Value::list(outcomes.iter().map(Outcome::value).collect())),
        ("passed", Value::from(n_passed)),
        ("failed", Value::from(outcomes.len() - n_passed)),
        ("skipped", skipped),
    ]);
    let result = ActionResult { response: result.clone().into(), result, ..ActionResult::default() };
    if failures.is_empty() {
        return Ok(result);
    }
    let mut message = format!(
        "{source}, of `{}` with `{}`: {} of {} interactions failed",
        pact.consumer,
        pact.provider,
        failures.len(),
        outcomes.len()
    );
    for failure in failures {
        let _ = write!(message, "\n`{}`: {}", failure.description, failure.told());
    }
    Err(ActionError { kind: ErrorKind::Assertion, message, partial: Some(Box::new(result)) })
}

impl<'a> Verifying<'a> {
    fn read(cx: &'a ActionContext<'a>, config: &Resolved, pact: &'a Pact) -> Result<Self, ActionError> {
        let base = parse_url("provider_base_url", &config.required_text("provider_base_url")?)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.map("headers")? {
            let (name, value) = header(name, &value.to_text().unwrap_or_default())?;
            headers.append(name, value);
        }
        let states_url = config.text("states_url")?.map(|url| parse_url("states_url", &url)).transpose()?;
        Ok(Self {
            cx,
            client: HttpSession::of(cx).client.clone(),
            consumer: &pact.consumer,
            base: base.as_str().trim_end_matches('/').to_owned(),
            headers,
            states_url,
            states_teardown: config.boolean("states_teardown")?.unwrap_or(false),
            only: config.list("only")?.iter().filter_map(Value::to_text).map(String::from).collect(),
            timeout: config.duration("request_timeout")?.unwrap_or(DEFAULT_TIMEOUT),
        })
    }

    fn wants(&self, interaction: &Interaction) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| interaction.description.contains(part.as_str()))
    }

    async fn interaction(&self, interaction: &Interaction) -> Result<Outcome, ActionError> {
        let names: Vec<&str> = interaction.states.iter().map(|state| state.name.as_str()).collect();
        let given = if names.is_empty() { String::new() } else { format!(" (given {})", names.join(", ")) };
        let mut outcome = Outcome {
            description: format!("{}{given}", interaction.description),
            pending: interaction.pending,
            status: None,
            differences: Vec::new(),
        };
        match self.answer(interaction).await? {
            Ok(response) => {
                let status = response.status.as_u16();
                outcome.status = Some(status);
                outcome.differences = differences(&interaction.response, status, &response.headers, &response.body);
            }
            Err(difference) => outcome.differences.push(difference),
        }
        Ok(outcome)
    }

    /// Sets up the states, asks, and tells of the end. What a provider does wrong is a difference.
    async fn answer(&self, interaction: &Interaction) -> Result<Result<FullResponse, Difference>, ActionError> {
        let mut known = JsonMap::new();
        for state in &interaction.states {
            match self.set_up(&state.name, &state.params).await? {
                Ok(values) => known.extend(state.params.clone().into_iter().chain(values)),
                Err(difference) => return Ok(Err(difference)),
            }
        }
        let answer = self.ask(interaction, &known).await;
        if self.states_teardown
            && let Some(url) = &self.states_url
        {
            for state in &interaction.states {
                let body = json!({ "state": state.name, "params": state.params, "consumer": self.consumer, "action": "teardown" });
                // What has been asked is judged, whatever becomes of this.
                let _ = self.send(state_request(url, &body)?).await?;
            }
        }
        answer
    }

    /// What the provider says of its state.
    async fn set_up(
        &self,
        name: &str,
        params: &JsonMap<String, Json>,
    ) -> Result<Result<JsonMap<String, Json>, Difference>, ActionError> {
        let failed = |actual: String| Difference {
            path: format!("provider state {name}"),
            expected: "to be set up".to_owned(),
            actual,
        };
        let mut values = JsonMap::new();
        if let Some(url) = &self.states_url {
            let body = json!({ "state": name, "params": params, "consumer": self.consumer, "action": "setup" });
            match self.send(state_request(url, &body)?).await? {
                Ok(response) if response.status.is_success() => {
                    if let Ok(Json::Object(told)) = serde_json::from_slice(&response.body) {
                        values = told;
                    }
                }
                Ok(response) => {
                    return Ok(Err(failed(format!("status {} from `states_url`", response.status.as_u16()))));
                }
                Err(reason) => return Ok(Err(failed(reason))),
            }
        }
        let steps = self.cx.config().steps("states");
        if !steps.is_empty() {
            let params = Value::from_json(Json::Object(params.clone()));
            let names = vec![
                (ByteString::from_static("state"), Value::from(name)),
                (ByteString::from_static("params"), params),
            ];
            let layer = self.cx.layer(names);
            let end = self.cx.run_steps(steps, &layer, None).await;
            if end.stopped {
                return Err(Stopped.into());
            }
            if let Some(failure) = end.failure {
                return Ok(Err(failed(format!("step `{}`: {}", failure.id, failure.error.message))));
            }
            if let Json::Object(captured) = layer.outputs().to_json() {
                values.extend(captured);
            }
        }
        Ok(Ok(values))
    }

    async fn ask(
        &self,
        interaction: &Interaction,
        known: &JsonMap<String, Json>,
    ) -> Result<Result<FullResponse, Difference>, ActionError> {
        let mut asked = interaction.request.clone();
        Sources { now: self.cx.now(), base_url: &self.base, state: known }.fill(&mut asked);
        let mut url = parse_url("provider_base_url", &format!("{}/{}", self.base, asked.path.trim_start_matches('/')))?;
        if !asked.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&asked.query);
        }
        let (bytes, content_type) = match asked.body {
            Body::Any | Body::Empty => (Bytes::new(), None),
            Body::Json(json) => (Bytes::from(json.to_string()), Some("application/json")),
            Body::Form(text) => (Bytes::from(text), Some("application/x-www-form-urlencoded")),
            Body::Xml(text) => (Bytes::from(text), Some("application/xml")),
            Body::Text(text) => (Bytes::from(text), Some("text/plain; charset=utf-8")),
            Body::Bytes(bytes) => (Bytes::from(bytes), Some("application/octet-stream")),
        };
        let mut request = Request::new(bytes);
        *request.method_mut() = Method::from_bytes(asked.method.as_bytes()).map_err(|_| {
            refuse(format!("interaction `{}`: `{}` is no method", interaction.description, asked.method))
        })?;
        *request.uri_mut() = request_uri(&url).map_err(|error| refuse(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("testmesh/", env!("CARGO_PKG_VERSION"))));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        for (name, value) in &asked.headers {
            let (name, value) = header(name, value)
                .map_err(|error| refuse(format!("interaction `{}`: {}", interaction.description, error.message)))?;
            headers.insert(name, value);
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        let target = format!("{} {url}", asked.method);
        let answer = self.send(request).await?;
        Ok(answer.map_err(|actual| Difference {
            path: "answer".to_owned(),
            expected: format!("one to {target}"),
            actual,
        }))
    }

    /// The answer, or why there is none. A policy that forbids to ask is an error of the step.
    async fn send(&self, request: Request<Bytes>) -> Result<Result<FullResponse, String>, ActionError> {
        let options = ConnectionOptions::default();
        let exchange = async { self.client.send(request, &options).await?.collect(ANSWER_LIMIT).await };
        let answer = tokio::select! {
            biased;
            // Cancel-safe: waits for a signal. What is asked is given up.
            () = self.cx.stop().wait() => return Err(Stopped.into()),
            answer = tokio::time::timeout(self.timeout, exchange) => answer,
        };
        match answer {
            Ok(Ok(response)) => Ok(Ok(response)),
            Ok(Err(error)) if kind_of(&error) == ErrorKind::Policy => {
                Err(ActionError::new(ErrorKind::Policy, chain(&error)))
            }
            Ok(Err(error)) => Ok(Err(chain(&error))),
            Err(_) => Ok(Err(format!("none within {:?}", self.timeout))),
        }
    }
}

fn state_request(url: &Url, body: &Json) -> Result<Request<Bytes>, ActionError> {
    let mut request = Request::new(Bytes::from(body.to_string()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = request_uri(url).map_err(|error| refuse(error.to_string()))?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(request)
}
