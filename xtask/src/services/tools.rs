//! Programs that tests start themselves: found, or installed, and named to them by a variable.

use std::io::Write;

use super::programs::{self, Missing};
use crate::workspace::Failure;

/// A program.
pub(crate) struct Tool {
    /// For people.
    name: &'static str,
    /// The variable that tells the tests where it is.
    pub(crate) variable: &'static str,
    /// Debian's packages.
    packages: &'static [&'static str],
    /// What it may be called.
    programs: &'static [&'static str],
}

/// Every one.
pub(crate) static TOOLS: &[Tool] = &[Tool {
    name: "Chromium",
    variable: "TESTMESH_TEST_BROWSER",
    packages: &["chromium"],
    programs: &["chromium", "chromium-browser", "google-chrome"],
}];

/// Where the tools are, and why others are not there.
#[derive(Default)]
pub(crate) struct Found {
    /// Each variable with what it says.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What was not to be had, and how to get it.
    pub(crate) missing: Vec<String>,
}

impl Found {
    /// Looks for `wanted`, installing what is missing where it may.
    pub(crate) fn find(wanted: &[&'static Tool], missing: Missing, out: &mut dyn Write) -> Result<Self, Failure> {
        let mut found = Self::default();
        for tool in wanted {
            let look = || tool.programs.iter().find_map(|program| programs::find(program));
            let trouble = match (look(), missing) {
                (None, Missing::Install) => programs::install(tool.packages, out)?,
                (_, Missing::Install | Missing::Skip) => None,
            };
            if let Some(program) = look() {
                found.variables.push((tool.variable, super::text(&program)?.to_owned()));
                continue;
            }
            let reason = trouble.as_deref().unwrap_or("it is not installed");
            let by_hand = programs::by_hand(tool.packages);
            found.missing.push(format!("{}: {reason}; on Debian: `{by_hand}`", tool.name));
        }
        Ok(found)
    }
}
