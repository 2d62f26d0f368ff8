//! The times of many calls, and what is told of them.

use std::time::Duration;

use serde_json::{Value, json};

/// What calls of one kind took.
#[derive(Debug, Default)]
pub(crate) struct Times {
    whole: Vec<Duration>,
    work: Vec<Duration>,
    price: Vec<Duration>,
}

impl Times {
    /// One more call, and how much of it was work.
    pub(crate) fn add(&mut self, whole: Duration, work: Duration) {
        self.whole.push(whole);
        self.work.push(work);
        self.price.push(whole.saturating_sub(work));
    }

    /// The line that is printed of them.
    pub(crate) fn line(&self, name: &str) -> Value {
        json!({
            "name": name,
            "whole_us": percentiles(&self.whole),
            "work_us": percentiles(&self.work),
            "price_us": percentiles(&self.price),
        })
    }
}

/// The median and the 99th percentile, in microseconds.
fn percentiles(times: &[Duration]) -> Value {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).map(|time| time.as_secs_f64() * 1e6);
    json!({ "p50": at(50), "p99": at(99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn price_is_what_is_left_of_each_call_without_its_work() {
        let mut times = Times::default();
        // The slowest call is the one with the most work, and the cheapest.
        for (whole, work) in [(30, 10), (50, 49), (25, 10)] {
            times.add(Duration::from_micros(whole), Duration::from_micros(work));
        }
        let line = times.line("one");
        let near = |value: &Value, wanted: f64| assert!((value.as_f64().unwrap() - wanted).abs() < 1e-6, "{line}");
        near(&line["whole_us"]["p50"], 30.0);
        near(&line["whole_us"]["p99"], 50.0);
        near(&line["work_us"]["p50"], 10.0);
        near(&line["price_us"]["p50"], 15.0);
        near(&line["price_us"]["p99"], 20.0);
    }
}
