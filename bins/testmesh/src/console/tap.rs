//! `--format tap`: the TAP report on standard output, once all flows are over, so that points stay in their order.

use testmesh_runner::report::{Part, ReportFormat, assemble};

/// The report.
pub(super) fn report(parts: &[Part]) -> String {
    assemble(ReportFormat::Tap, parts).concat()
}
