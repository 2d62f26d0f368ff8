//! Reads requests strictly: whatever does not fit becomes a problem that names the field and the rule.

pub(crate) mod body;
pub(crate) mod header;
pub(crate) mod path;
pub(crate) mod query;
