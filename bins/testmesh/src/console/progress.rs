//! The line of progress at the bottom of a terminal.

use std::time::Duration;

use super::{clean, duration};
use crate::suite::Progress;

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// The line, no wider than the terminal.
pub(super) fn line(progress: &Progress, elapsed: Duration, width: usize) -> String {
    let turn = usize::try_from(elapsed.as_millis() / 100).unwrap_or(0) % SPINNER.len();
    let mut line = format!(
        "{} {}/{} flows, {} running, {}",
        SPINNER[turn],
        progress.n_finished,
        progress.n_planned,
        progress.n_running,
        duration(elapsed)
    );
    if let Some(oldest) = &progress.oldest {
        line.push_str(" · ");
        line.push_str(&clean(&oldest.name));
        if let Some(step) = &oldest.step {
            line.push_str(" › ");
            line.push_str(&clean(step));
        }
    }
    line.replace('\n', " ").chars().take(width.saturating_sub(1)).collect()
}
