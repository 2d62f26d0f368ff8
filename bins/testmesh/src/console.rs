//! What `run` says while it works and when it is done, in the format that was asked for.
//!
//! One loop writes, flow by flow, so the output of two flows never mixes. Everything that a flow or a reply put into
//! a text is made harmless for a terminal first.

mod detail;
mod github;
mod json;
mod pretty;
mod progress;
mod screen;
mod tap;

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testmesh_runner::report::{Part, ReportFormat};

pub(crate) use self::screen::{Paint, Screen, Tone, clean};
use crate::args::RunFormat;
use crate::suite::{Finished, Live, Outcome};

/// The voice of `run`.
pub(crate) struct Console {
    screen: Screen,
    format: RunFormat,
    verbose: bool,
    /// Whether the steps of flows that passed are shown too.
    show_steps: bool,
    started: Instant,
    /// The runs so far, for the format that is written at the end.
    kept: Vec<Part>,
}

impl Console {
    /// A console that writes to `screen`.
    pub(crate) fn new(screen: Screen, format: RunFormat, verbose: bool) -> Self {
        Self { screen, format, verbose, show_steps: verbose, started: Instant::now(), kept: Vec::new() }
    }

    /// Where the runs tell what goes on, as much of it as this console shows.
    pub(crate) fn live(&mut self, n_planned: usize) -> Arc<Live> {
        self.show_steps = self.verbose || n_planned == 1;
        Arc::new(Live::new(self.format == RunFormat::Json, self.shows_progress(), n_planned))
    }

    /// Whether a line of progress is drawn.
    pub(crate) fn shows_progress(&self) -> bool {
        self.screen.is_terminal() && self.format == RunFormat::Pretty
    }

    /// Shows the events that have come in.
    pub(crate) fn show_events(&mut self, live: &Live) {
        let lines = live.take_lines();
        if !lines.is_empty() {
            self.screen.write_bytes(&lines);
        }
    }

    /// Draws the line of progress anew.
    pub(crate) fn show_progress(&mut self, live: &Live) {
        let status = progress::line(&live.progress(), self.started.elapsed(), self.screen.width());
        self.screen.set_status(&status);
    }

    /// Tells that a flow is over.
    pub(crate) fn flow_finished(&mut self, finished: &Finished) {
        match self.format {
            RunFormat::Pretty => {
                let block = pretty::flow(finished, self.screen.paint(), self.show_steps, self.verbose);
                self.screen.print(&block);
            }
            RunFormat::Github => self.screen.print(&github::flow(finished, self.show_steps)),
            RunFormat::Json => {}
            RunFormat::Tap => self.kept.push(Part::of(ReportFormat::Tap, &finished.entry)),
        }
    }

    /// Tells what it came to.
    pub(crate) fn finished(&mut self, outcome: &Outcome) {
        self.screen.clear_status();
        let elapsed = self.started.elapsed();
        let text = match self.format {
            RunFormat::Pretty => pretty::summary(outcome, self.screen.paint(), elapsed),
            RunFormat::Github => pretty::summary(outcome, Paint::plain(), elapsed),
            RunFormat::Json => json::summary(outcome, elapsed),
            RunFormat::Tap => tap::report(&self.kept),
        };
        self.screen.print(&text);
    }

    /// Says something to the person in front of it.
    pub(crate) fn note(&mut self, text: &str) {
        self.screen.clear_status();
        Screen::complain(text);
    }
}

/// A time for people: `123 ms`, `1.23 s`, `2 min 3 s`.
pub(crate) fn duration(time: Duration) -> impl Display {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    fmt::from_fn(move |out| match millis {
        0..1_000 => write!(out, "{millis} ms"),
        1_000..60_000 => write!(out, "{}.{:02} s", millis / 1_000, millis % 1_000 / 10),
        _ => write!(out, "{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
    })
}
