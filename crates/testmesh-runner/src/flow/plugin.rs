//! Checks steps of plugins against what the plugins say of themselves.

use serde_json::Value as Json;

use super::reader::{Decoder, Section, key_help, place};
use super::source::Span;
use super::yaml::{Entry, Node, NodeKind};
use crate::actions;
use crate::diagnostic::Code;
use crate::plugins::{ActionDescription, Fault, FaultKind, PluginError, parts};
use crate::template::may_refer;

impl<'t> Decoder<'t, '_> {
    /// Whether there is a plugin and an action of this name (`plugin.sums.add`), as far as it is known here. Reports it when
    /// there is none.
    pub(crate) fn is_plugin(&mut self, name: &str, span: Span) -> bool {
        let Some(written) = actions::verb(name) else {
            let help = "write `plugin.NAME`, or `plugin.NAME.ACTION`".to_owned();
            self.findings.error(Code::UnknownAction, span, "`plugin` alone names no plugin").help(help);
            return false;
        };
        if self.options.plugins.are_elsewhere() {
            return true;
        }
        let (plugin, action) = parts(written);
        let found = self.options.plugins.load(plugin).and_then(|plugin| plugin.action(action).map(drop));
        let Err(error) = found else { return true };
        let code = match error {
            PluginError::Unknown { .. } | PluginError::NoAction { .. } | PluginError::WhichAction { .. } => {
                Code::UnknownAction
            }
            _ => Code::ActionNotAvailable,
        };
        self.findings.error(code, span, error.to_string()).help(error.help());
        false
    }

    /// Reports what the plugin does not take of the configuration that is written for it.
    pub(crate) fn plugin_config(&mut self, step: &Section<'_, 't>) {
        let Some(action) = step.entry("action") else { return };
        let (plugin, named) = parts(action.value.text().and_then(actions::verb).unwrap_or_default());
        let Ok(plugin) = self.options.plugins.load(plugin) else { return };
        let Ok(described) = plugin.action(named) else { return };
        let entry = step.set("config");
        let mut unknown = Vec::new();
        let config = match entry {
            Some(entry) if entry.value.entries().is_none() => return,
            Some(entry) => known(&entry.value, &mut Vec::new(), &mut unknown),
            None => Json::Object(serde_json::Map::new()),
        };
        for fault in plugin.faults(&described.name, &config, &unknown) {
            self.fault(entry, place(action), described, &fault);
        }
    }

    fn fault(&mut self, config: Option<&Entry<'t>>, action: Span, described: &ActionDescription, fault: &Fault) {
        let found = config.map(|config| found(config, &fault.path));
        let span = found.map_or(action, |(_, span)| span);
        let code = match &fault.kind {
            FaultKind::Missing => Code::MissingKey,
            FaultKind::Type => Code::WrongType,
            FaultKind::Value => Code::InvalidValue,
            FaultKind::Unknown(keys) => {
                let entries = found.and_then(|(node, _)| node.entries()).unwrap_or_default();
                for key in keys {
                    let at = entries.iter().find(|entry| entry.key == *key).map_or(span, |entry| entry.key_span);
                    let known = if fault.path.is_empty() { keys_of(&described.schema) } else { Vec::new() };
                    let message = format!("`{key}` means nothing to the plugin");
                    self.findings.error(Code::UnknownKey, at, message).help(key_help(key, &known));
                }
                return;
            }
        };
        self.findings.error(code, span, fault.told()).help(None);
    }
}

/// The keys that the schema of a configuration lists.
fn keys_of(schema: &Json) -> Vec<&str> {
    let properties = schema.get("properties").and_then(Json::as_object);
    properties.map(|properties| properties.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// What is written, as JSON; null where it is not known yet, at the places that are added to `unknown`.
fn known(node: &Node<'_>, path: &mut Vec<String>, unknown: &mut Vec<Vec<String>>) -> Json {
    match &node.kind {
        NodeKind::Scalar(_) if super::kinds::is_reference(node) => {
            unknown.push(path.clone());
            Json::Null
        }
        NodeKind::Scalar(scalar) => scalar.literal.value(&scalar.text).to_json(),
        NodeKind::List(items) => {
            let inner = |(index, item): (usize, &Node<'_>)| {
                path.push(index.to_string());
                let value = known(item, path, unknown);
                path.pop();
                value
            };
            Json::Array(items.iter().enumerate().map(inner).collect())
        }
        NodeKind::Map(entries) if entries.iter().any(|entry| may_refer(&entry.key)) => {
            unknown.push(path.clone());
            Json::Null
        }
        NodeKind::Map(entries) => {
            let inner = |entry: &Entry<'_>| {
                path.push(entry.key.to_string());
                let value = known(&entry.value, path, unknown);
                path.pop();
                (entry.key.to_string(), value)
            };
            Json::Object(entries.iter().map(inner).collect())
        }
    }
}

/// The part of a configuration at `path`, or the innermost one around it that is written, and where it stands.
fn found<'n, 't>(config: &'n Entry<'t>, path: &[String]) -> (&'n Node<'t>, Span) {
    let mut at = (&config.value, config.key_span);
    for step in path {
        at = match &at.0.kind {
            NodeKind::Map(entries) => match entries.iter().find(|entry| entry.key == *step) {
                Some(entry) => (&entry.value, place(entry)),
                None => return at,
            },
            NodeKind::List(items) => match step.parse().ok().and_then(|index: usize| items.get(index)) {
                Some(item) => (item, item.span),
                None => return at,
            },
            NodeKind::Scalar(_) => return at,
        };
    }
    at
}
