//! Structured logs: one line per event on standard error, as JSON for programs or as text for people.
//!
//! A panic is an event like any other, so that a log never holds a line that its reader cannot parse.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Time, level, message, fields.
    Text,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(word: &str) -> Result<Self, TelemetryError> {
        match word {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(TelemetryError::Format(word.to_owned())),
        }
    }
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a format.
    #[error("`{0}` is no log format: `json` or `text`")]
    Format(String),
    /// Not a level or a list of levels by module.
    #[error("`{text}` is no log level: `error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,hyper=warn`")]
    Level {
        /// What was given.
        text: String,
    },
    /// Something else in this process took the log already.
    #[error("logging is set up twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends every event that `level` lets through to standard error. `level` is a level, or levels by module:
/// `info,testmesh_runner=debug`.
///
/// # Errors
/// [`TelemetryError::Level`] when `level` is neither, [`TelemetryError::Twice`] when it is called again.
pub fn init(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let filter = filter(level)?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
            registry.with(lines).try_init()
        }
        LogFormat::Text => registry.with(lines.with_target(false).with_ansi(false)).try_init(),
    };
    done.map_err(TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        tracing::error!(panic = message, place, "a part of the server panicked");
    }));
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    // The parser takes a space after a comma for a part of the module's name.
    let compact: String = level.split(',').map(str::trim).collect::<Vec<_>>().join(",");
    EnvFilter::builder()
        .parse(compact)
        .ok()
        .filter(|_| level.split(',').all(is_directive))
        .map_or_else(|| Err(level_error(level)), Ok)
}

/// A bare word that is no level would be taken for a module's name, and would turn every other line off.
fn is_directive(part: &str) -> bool {
    let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
    // An empty text would be read as `error`.
    !level.is_empty() && level.parse::<tracing_subscriber::filter::LevelFilter>().is_ok()
}

fn level_error(level: &str) -> TelemetryError {
    TelemetryError::Level { text: level.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_or_words_by_module() {
        let check = |level: &str, expect: bool| assert_eq!(filter(level).is_ok(), expect, "{level}");
        check("info", true);
        check("WARN", true);
        check("off", true);
        check("info,hyper=warn", true);
        check("info, testmesh_runner=debug", true);
        check("loud", false);
        check("info,loud", false);
        check("", false);
        check("hyper=", false);
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        assert_eq!("text".parse::<LogFormat>().unwrap(), LogFormat::Text);
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
