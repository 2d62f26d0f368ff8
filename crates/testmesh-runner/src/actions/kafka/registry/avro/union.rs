//! Which branch of a union a value is: the first that it is exactly, or the one that it names, or the first that takes it.

use super::Fault;
use super::schema::{Place, Type};
use super::write::{How, Writer, takes};
use crate::value::Value;

impl Writer<'_> {
    pub(super) fn union(&mut self, branches: &[Place], value: &Value, how: How) -> Result<(), Fault> {
        let is_null = |place: Place| matches!(self.schema.at(place), Type::Null);
        let fitting = |(at, place): (usize, &Place)| (is_null(*place) == value.is_null()).then_some((at, *place));
        let candidates: Vec<(usize, Place)> = branches.iter().enumerate().filter_map(fitting).collect();
        let mut faults = Vec::with_capacity(candidates.len());
        // One alone has nothing to be told apart from.
        let exactly = how.exactly || candidates.len() > 1;
        for (at, place) in &candidates {
            match self.branch(*at, *place, value, How { exactly, ..how }) {
                Ok(()) => return Ok(()),
                Err(fault) => faults.push((*place, fault)),
            }
        }
        // As Avro's JSON has it: `{"string": "x"}`.
        if let Some((at, place, inner)) = self.named_branch(branches, value) {
            return self.branch(at, place, &inner, how).map_err(|fault| fault.in_field(self.schema.name(place)));
        }
        if exactly && !how.exactly {
            faults.clear();
            for (at, place) in &candidates {
                match self.branch(*at, *place, value, how) {
                    Ok(()) => return Ok(()),
                    Err(fault) => faults.push((*place, fault)),
                }
            }
        }
        Err(self.no_branch(branches, value, faults))
    }

    /// Writes a value as one branch, or nothing.
    fn branch(&mut self, at: usize, place: Place, value: &Value, how: How) -> Result<(), Fault> {
        let start = self.out.len();
        self.count(at);
        let written = self.value(place, value, How { depth: how.depth + 1, ..how });
        if written.is_err() {
            self.out.truncate(start);
        }
        written
    }

    fn named_branch(&self, branches: &[Place], value: &Value) -> Option<(usize, Place, Value)> {
        let map = value.entries()?;
        let (name, inner) = map.entries.iter().next().filter(|_| map.entries.len() == 1)?;
        let at = branches.iter().position(|place| self.schema.name(*place) == &**name)?;
        Some((at, branches[at], inner.clone()))
    }

    fn no_branch(&self, branches: &[Place], value: &Value, mut faults: Vec<(Place, Fault)>) -> Fault {
        if faults.len() == 1 {
            return faults.remove(0).1;
        }
        let names: Vec<String> = branches.iter().map(|place| format!("`{}`", self.schema.name(*place))).collect();
        let mut fault = takes(&format!("one of {}", names.join(", ")), value);
        // What is wrong inside of a record is worth telling; that a text is no number is not.
        let inside = faults.iter().filter(|(place, _)| matches!(self.schema.at(*place), Type::Record { .. }));
        for (place, inner) in inside {
            let name = self.schema.name(*place);
            fault.what.extend(["; as `", name, "`: ", &inner.told("")]);
        }
        fault
    }
}
