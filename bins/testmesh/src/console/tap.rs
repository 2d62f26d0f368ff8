//! `--format tap`: the TAP report on standard output, once all flows are over, so that points stay in their order.

use testmesh_runner::report::{ReportEntry, ReportFormat, render};

/// The report.
pub(super) fn report(entries: &[ReportEntry]) -> String {
    render(ReportFormat::Tap, entries)
}
