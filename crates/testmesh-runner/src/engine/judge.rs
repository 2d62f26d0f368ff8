//! What a step's result is held against: assertions and outputs, all of them, whatever failed first.

use bytestring::ByteString;

use crate::action::ActionSpec;
use crate::engine::context::{ActionContext, explain};
use crate::engine::{Detail, stored};
use crate::expr::{Checked, EvalError, Expr, schema};
use crate::flow::{Assertion, Output, OutputSource, SchemaAssertion, Step};
use crate::mask::Masker;
use crate::path::PathRoots;
use crate::record::{AssertionRecord, ErrorKind, StepError};
use crate::scope::{Overlay, ResultScope};
use crate::template::Lookup;
use crate::value::{Entries, Value};

/// Hides secrets in what is told, and says how much that is.
type Told<'a> = (&'a Masker, Detail);

/// What a result came to.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) assertions: Vec<AssertionRecord>,
    pub(super) outputs: Entries,
    /// Why the step failed.
    pub(super) error: Option<StepError>,
}

/// Evaluates every assertion and output of `step`. `noted` is what the action has checked by itself.
pub(super) fn judge(
    step: &Step,
    spec: &ActionSpec,
    scope: &ResultScope<'_>,
    told: Told<'_>,
    noted: Vec<AssertionRecord>,
) -> Judgement {
    let failed = noted.iter().any(|record| !record.passed);
    let mut kind = if failed { ErrorKind::Assertion } else { ErrorKind::Expression };
    let mut assertions = noted;
    assertions.reserve(step.assert.len());
    for assertion in &step.assert {
        let verdict = check(assertion, scope, scope.subject(), told);
        if verdict.evaluated && !verdict.record.passed {
            kind = ErrorKind::Assertion;
        }
        assertions.push(verdict.record);
    }
    for (group, wanted) in [(&step.assert_any, Wanted::Any), (&step.assert_none, Wanted::None)] {
        if !group.is_empty() {
            let records = check_group(group, wanted, scope, told.0);
            if records.iter().any(|record| !record.passed) {
                kind = ErrorKind::Assertion;
            }
            assertions.extend(records);
        }
    }
    let mut outputs = Entries::with_capacity(step.output.len());
    let mut missing = Vec::new();
    for output in &step.output {
        match capture(output, spec, scope) {
            Ok(value) => {
                outputs.insert(ByteString::from(output.name.as_str()), value);
            }
            Err(message) => missing.push(format!("output `{}`: {message}", output.name)),
        }
    }
    let error = failure(&assertions, kind, &missing);
    Judgement { assertions, outputs, error }
}

/// The step's error, when an assertion or output failed.
fn failure(assertions: &[AssertionRecord], kind: ErrorKind, missing: &[String]) -> Option<StepError> {
    let mut failed = assertions.iter().filter(|assertion| !assertion.passed);
    let first = failed.next();
    let n_failed = usize::from(first.is_some()) + failed.count();
    let told = first.map(|first| {
        let message = first.message.as_deref().unwrap_or(&first.expression);
        match n_failed {
            1 => message.to_owned(),
            _ => format!("{n_failed} of {} assertions failed, first: {message}", assertions.len()),
        }
    });
    let kind = if first.is_some() { kind } else { ErrorKind::Assertion };
    let message = told.into_iter().chain(missing.iter().cloned()).collect::<Vec<_>>().join("; ");
    (!message.is_empty()).then_some(StepError { kind, message })
}

/// An assertion's record, and whether it could be evaluated at all.
struct Verdict {
    record: AssertionRecord,
    evaluated: bool,
}

/// Checks one assertion. `names` is where its names come from; `subject` is what a schema is held
/// against when it names no value.
fn check(assertion: &Assertion, names: &dyn Lookup, subject: &Value, told: Told<'_>) -> Verdict {
    let outcome = match &assertion.schema {
        Some(wanted) => check_schema(wanted, names, subject),
        None => assertion.expression.check(names),
    };
    let source = assertion.expression.source();
    match outcome {
        Ok(checked) => {
            let mut record = assertion_record(&assertion.expression, checked, assertion.line, told);
            if !record.passed {
                record.message = own_message(assertion, names).or(record.message);
            }
            Verdict { record, evaluated: true }
        }
        Err(error) => {
            let record = AssertionRecord {
                expression: assertion.expression.shared_source(),
                passed: false,
                actual: None,
                expected: None,
                message: Some(format!("`{source}`: {}", explain(&error))),
                line: assertion.line,
            };
            Verdict { record, evaluated: false }
        }
    }
}

/// Holds a value against a JSON Schema; `subject` is the value it means when it names none.
fn check_schema(wanted: &SchemaAssertion, names: &dyn Lookup, subject: &Value) -> Result<Checked, EvalError> {
    let schema = wanted.schema.render(names)?.to_json();
    let value = match &wanted.value {
        Some(tree) => tree.render(names)?,
        None => subject.clone(),
    };
    let faults = schema::faults(&schema, &value)?;
    let holds = faults.is_empty();
    let message =
        if holds { String::new() } else { format!("the value does not match the schema: {}", faults.join("; ")) };
    Ok(Checked { holds, actual: Some(value), expected: None, message })
}

/// The message that the flow gives for a failed assertion.
fn own_message(assertion: &Assertion, names: &dyn Lookup) -> Option<String> {
    let message = assertion.message.as_ref()?;
    match message.render(names) {
        Ok(text) => text.to_text().map(|text| text.to_string()),
        Err(error) => Some(format!("the assertion does not hold, and its message has a mistake: {}", explain(&error))),
    }
}

/// The record of a condition that was evaluated.
pub(super) fn assertion_record(condition: &Expr, checked: Checked, line: u32, told: Told<'_>) -> AssertionRecord {
    let (masker, detail) = told;
    let shown =
        |value: Option<Value>| value.filter(|_| detail.tells(checked.holds)).map(|value| stored::value(&value, masker));
    AssertionRecord {
        expression: condition.shared_source(),
        passed: checked.holds,
        actual: shown(checked.actual),
        expected: shown(checked.expected),
        message: (!checked.holds).then_some(checked.message),
        line,
    }
}

/// Checks the assertions of an `assert` step: names of `data` first, then the step's scope.
pub(crate) fn check_assertions(cx: &ActionContext<'_>, assertions: &[Assertion], data: &Value) -> Vec<AssertionRecord> {
    let names = Overlay { front: data, scope: cx.scope };
    let told = (cx.flow.run.emitter.masker(), cx.flow.run.detail);
    assertions.iter().map(|assertion| check(assertion, &names, data, told).record).collect()
}

/// How many of a group are to hold.
#[derive(Clone, Copy)]
enum Wanted {
    Any,
    None,
}

/// `assert_any` makes one record, `assert_none` one for each.
fn check_group(group: &[Assertion], wanted: Wanted, scope: &ResultScope<'_>, masker: &Masker) -> Vec<AssertionRecord> {
    // Whether one that holds is good news turns out later.
    let told = (masker, Detail::Full);
    let verdicts = group.iter().map(|assertion| check(assertion, scope, scope.subject(), told));
    match wanted {
        Wanted::None => verdicts
            .map(|verdict| {
                let mut record = verdict.record;
                if verdict.evaluated {
                    record.passed = !record.passed;
                    record.message = (!record.passed).then(|| format!("`{}` holds, but must not", record.expression));
                }
                record.expression = format!("not ({})", record.expression).into();
                record
            })
            .collect(),
        Wanted::Any => {
            let records: Vec<AssertionRecord> = verdicts.map(|verdict| verdict.record).collect();
            let passed = records.iter().any(|record| record.passed);
            let expressions: Vec<&str> = records.iter().map(|record| &*record.expression).collect();
            let reasons: Vec<&str> = records.iter().filter_map(|record| record.message.as_deref()).collect();
            vec![AssertionRecord {
                expression: format!("any of: {}", expressions.join("; ")).into(),
                passed,
                actual: None,
                expected: None,
                message: (!passed).then(|| format!("none of {} holds: {}", records.len(), reasons.join("; "))),
                line: group.first().map_or(0, |assertion| assertion.line),
            }]
        }
    }
}

/// The value of an output; `Err` says why there is none.
fn capture(output: &Output, spec: &ActionSpec, scope: &ResultScope<'_>) -> Result<Value, String> {
    let roots = PathRoots { result: scope.result, primary: scope.primary, reserved: spec.reserved, step_id: scope.id };
    let (found, optional) = match &output.source {
        OutputSource::Path(path) => (path.find(&roots).map_err(|error| explain(&error))?, path.optional()),
        OutputSource::Tree(tree) => match tree.render(scope) {
            Ok(value) => (Some(value), false),
            Err(_) if output.default.is_some() => (None, false),
            Err(error) => return Err(explain(&error)),
        },
    };
    match (found, &output.default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => default.render(scope).map_err(|error| explain(&error)),
        (None, None) if optional => Ok(Value::Null),
        (None, None) => Err("the result has no value there".to_owned()),
    }
}
