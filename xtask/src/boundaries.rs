//! `cargo xtask boundaries`: what may depend on what, what each domain shows of itself, and how the code is laid out.

mod contract;
mod graph;
mod interface;
mod licences;
mod reach;
mod tidy;

use std::io::Write;
use std::path::Path;

use crate::finding;
use crate::workspace::{self, Failure};

/// Runs every check; says whether nothing was found. With `bless`, the public interfaces are recorded first.
pub(crate) fn run(root: &Path, bless: bool, out: &mut dyn Write) -> Result<bool, Failure> {
    let members = workspace::members(root)?;
    if bless {
        contract::bless(root, &members, out)?;
    }
    let mut findings = graph::check(root, &members)?;
    findings.extend(contract::check(root, &members)?);
    findings.extend(reach::check(root, &members)?);
    findings.extend(tidy::check(root)?);
    findings.extend(licences::check(root)?);
    Ok(finding::report("boundaries", findings, out)?)
}
