//! Holds what a mock server was asked against what it should have been asked.

use std::fmt::Write as _;

use super::matching::{Matcher, Miss, Wanted};
use super::{Mock, farness};
use crate::action::{ActionError, Field, Kind, Pattern};
use crate::actions::mock::arrival::Recorded;
use crate::actions::mock::spec::{MATCH, field};
use crate::engine::{Resolved, entries, mismatch};
use crate::record::ErrorKind;
use crate::value::{Map, Value};

/// Requests that a message lists.
const LISTED: usize = 10;
const ANY_COUNT: Kind = Kind::Integer { min: 0, max: 1_000_000_000 };

/// The keys of an expectation.
pub(in crate::actions) const EXPECTATION: [Field; 7] = [
    Field {
        aliases: &["endpoint_id"],
        ..field("endpoint", Kind::Text, "Only requests that this endpoint answered: its `id`, or its path.")
    },
    field("method", Kind::List(&Kind::Text), "Only requests with this method, or one of several."),
    field("path", Kind::Pattern(Pattern::Route), "Only requests to this path; as in `endpoints`."),
    Field {
        aliases: &["matching"],
        ..field("match", Kind::Object(MATCH), "What the requests must have besides; as in `endpoints`.")
    },
    Field {
        aliases: &["count", "expected_count", "expected_calls", "calls"],
        ..field("times", ANY_COUNT, "Exactly so many came.")
    },
    Field {
        aliases: &["min_times", "min_calls", "min"],
        default: Some("1"),
        ..field("at_least", ANY_COUNT, "At least so many came (unless `times` or `at_most` is given).")
    },
    Field { aliases: &["max_times", "max_calls", "max"], ..field("at_most", ANY_COUNT, "At most so many came.") },
];

/// Which requests are expected, and how many.
#[derive(Debug)]
pub(in crate::actions) struct Expectation {
    endpoint: Option<String>,
    wanted: Wanted,
    matcher: Matcher,
    least: u64,
    most: Option<u64>,
}

/// What an expectation came to.
#[derive(Debug)]
pub(in crate::actions) struct Outcome {
    /// `POST /orders exactly 1 time`.
    pub(in crate::actions) expected: String,
    pub(in crate::actions) count: u64,
    pub(in crate::actions) least: u64,
    pub(in crate::actions) most: Option<u64>,
    /// Why it does not hold, with what came instead.
    pub(in crate::actions) message: Option<String>,
}

impl Expectation {
    pub(in crate::actions) fn read(config: &Resolved, mock: &Mock) -> Result<Self, ActionError> {
        let count = |key| -> Result<Option<u64>, ActionError> {
            let Some(count) = config.integer(key)? else { return Ok(None) };
            let counted = u64::try_from(count).map_err(|_| mismatch(key, "a number from 0", &Value::Int(count)))?;
            Ok(Some(counted))
        };
        let (times, least, most) = (count("times")?, count("at_least")?, count("at_most")?);
        let (least, most) = match times {
            Some(times) => (times, Some(times)),
            None => (least.unwrap_or(u64::from(most.is_none())), most),
        };
        if most.is_some_and(|most| most < least) {
            let message = "`at_most` is less than `at_least`: no number of requests is both";
            return Err(ActionError::new(ErrorKind::Config, message));
        }
        let mut wanted = Wanted::read(config)?;
        let mut endpoint = config.text("endpoint")?.map(|id| id.to_string());
        if let Some(id) = endpoint.clone().filter(|id| !mock.has_endpoint(id)) {
            if !id.starts_with('/') {
                return Err(ActionError::new(ErrorKind::Config, mock.no_endpoint(&id)));
            }
            let path = super::Route::parse(&id)
                .map_err(|reason| ActionError::new(ErrorKind::Config, format!("`endpoint` `{id}`: {reason}")))?;
            wanted.route.get_or_insert(path);
            endpoint = None;
        }
        let matcher = Matcher::read(&config.section("match")?.unwrap_or_default())?;
        Ok(Self { endpoint, wanted, matcher, least, most })
    }

    /// `POST /orders exactly 1 time`.
    fn shown(&self) -> String {
        let what = match &self.endpoint {
            Some(id) if self.wanted.methods.is_empty() && self.wanted.route.is_none() => format!("endpoint `{id}`"),
            Some(id) => format!("{} of endpoint `{id}`", self.wanted.shown()),
            None => self.wanted.shown(),
        };
        let times = |n: u64| if n == 1 { "1 time".to_owned() } else { format!("{n} times") };
        match (self.least, self.most) {
            (least, Some(most)) if least == most => format!("{what} exactly {}", times(most)),
            (0, Some(most)) => format!("{what} at most {}", times(most)),
            (least, Some(most)) => format!("{what} {least} to {}", times(most)),
            (least, None) => format!("{what} at least {}", times(least)),
        }
    }

    fn misses(&self, recorded: &Recorded, state: &Map) -> Vec<Miss> {
        let mut misses = self.wanted.check(&recorded.incoming).err().unwrap_or_default();
        misses.extend(self.matcher.misses(&recorded.incoming, state));
        if let Some(id) = self.endpoint.as_ref().filter(|id| recorded.endpoint.as_ref() != Some(id)) {
            let actual = recorded.endpoint.as_ref().map_or_else(|| "none".to_owned(), |id| format!("`{id}`"));
            misses.push(Miss { what: "endpoint".to_owned(), expected: format!("`{id}`"), actual });
        }
        misses
    }

    /// Counts the requests so far.
    pub(in crate::actions) fn check(&self, mock: &Mock) -> Outcome {
        let (recorded, state, n_forgotten) = mock.evidence();
        let judged: Vec<_> = recorded.iter().map(|recorded| (recorded, self.misses(recorded, &state))).collect();
        let count = judged.iter().filter(|(_, misses)| misses.is_empty()).count() as u64;
        let holds = count >= self.least && self.most.is_none_or(|most| count <= most);
        let expected = self.shown();
        let message = (!holds).then(|| {
            let mut message = format!("mock server `{}`: expected {expected}, got {count}", mock.name);
            if count < self.least {
                message.push_str(&self.instead(&judged));
            } else {
                let those = judged.iter().filter(|(_, misses)| misses.is_empty()).map(|(recorded, _)| *recorded);
                let _ = write!(message, ": {}", listed(those));
            }
            if n_forgotten > 0 {
                let _ = write!(message, "; {n_forgotten} older requests are no longer recorded");
            }
            message
        });
        Outcome { expected, count, least: self.least, most: self.most, message }
    }

    /// What came instead, the nearest miss first.
    fn instead(&self, judged: &[(&std::sync::Arc<Recorded>, Vec<Miss>)]) -> String {
        let others = judged.iter().filter(|(_, misses)| !misses.is_empty());
        let far = |(recorded, misses): &&(&std::sync::Arc<Recorded>, Vec<Miss>)| {
            farness(misses, self.wanted.distance(&recorded.incoming))
        };
        let Some((nearest, misses)) = others.clone().min_by_key(far) else {
            return if judged.is_empty() { "; no request came".to_owned() } else { String::new() };
        };
        let told: Vec<String> = misses.iter().map(ToString::to_string).collect();
        let nearest =
            format!("; the nearest, #{} {}, differs in {}", nearest.number, nearest.incoming.line(), told.join("; "));
        format!("{nearest}; instead came: {}", listed(others.map(|(recorded, _)| *recorded)))
    }
}

fn listed<'a>(requests: impl Iterator<Item = &'a std::sync::Arc<Recorded>>) -> String {
    let all: Vec<_> = requests.collect();
    let mut told: Vec<String> = all
        .iter()
        .take(LISTED)
        .map(|recorded| {
            let endpoint = recorded.endpoint.as_ref().map_or_else(|| "no endpoint".to_owned(), |id| format!("`{id}`"));
            let answered = recorded.answer.told().to_text().unwrap_or_default();
            format!("#{} {} ({endpoint}, {answered})", recorded.number, recorded.incoming.line())
        })
        .collect();
    if all.len() > LISTED {
        told.push(format!("{} more", all.len() - LISTED));
    }
    told.join(", ")
}

/// The expectations of a step: the one of its own keys, and those of its list.
pub(in crate::actions) fn read_all(config: &Resolved, mock: &Mock) -> Result<Vec<Expectation>, ActionError> {
    let list = config.list("expect")?;
    let own = EXPECTATION.iter().any(|field| config.value(field.name).is_some());
    let mut all = Vec::with_capacity(list.len() + 1);
    if own || (list.is_empty() && config.value("no_unmatched").is_none()) {
        all.push(Expectation::read(config, mock)?);
    }
    for (index, item) in list.iter().enumerate() {
        let fields = entries(item).ok_or_else(|| mismatch("expect", "a list of maps", item))?;
        let section = Resolved::new(fields.into_iter().collect());
        all.push(
            Expectation::read(&section, mock)
                .map_err(|error| ActionError { message: format!("`expect[{index}]`: {}", error.message), ..error })?,
        );
    }
    Ok(all)
}

/// Why requests that no endpoint was for are wrong; `None` when there were none.
pub(in crate::actions) fn unmatched(mock: &Mock) -> Option<String> {
    let (recorded, _, _) = mock.evidence();
    let unmatched: Vec<_> = recorded.iter().filter(|recorded| recorded.endpoint.is_none()).collect();
    (!unmatched.is_empty()).then(|| {
        let told = listed(unmatched.iter().copied());
        format!("mock server `{}`: {} requests matched no endpoint: {told}", mock.name, unmatched.len())
    })
}
