//! Decodes `branches` of a step: lists of steps that run beside each other.

use super::facts::Names;
use super::reader::{Decoder, Section};
use super::yaml::{Entry, NodeKind};
use crate::action::Branch;
use crate::diagnostic::Code;

impl<'t> Decoder<'t, '_> {
    /// Each `{name, steps}` of `entry`. `id` is the step's own, and what ids of unnamed steps begin with.
    pub(super) fn branches(&mut self, entry: &Entry<'t>, id: &str) -> Vec<Branch> {
        let NodeKind::List(items) = &entry.value.kind else {
            self.wrong_type(entry, "a list of branches, each with `steps`").help(None);
            return Vec::new();
        };
        let mut branches = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Some(entries) = item.entries() else {
                self.wrong_type_at("branches", item, item.span, "branches `{name, steps}`").help(None);
                continue;
            };
            let branch = Section { entries, what: "a branch" };
            self.unknown_keys(&branch, &["name", "steps"]);
            let name = self.text(&branch, "name").unwrap_or_else(|| format!("branch_{}", index + 1));
            let Some(steps) = branch.entry("steps") else {
                let help = "`steps`: what the branch does, one after the other".to_owned();
                self.findings.error(Code::MissingKey, item.span, format!("branch `{name}` needs `steps`")).help(help);
                continue;
            };
            let prefix = format!("{id}_{}", index + 1);
            branches.push(Branch { name, steps: self.nested(steps, Names::default(), &prefix) });
        }
        branches
    }
}
