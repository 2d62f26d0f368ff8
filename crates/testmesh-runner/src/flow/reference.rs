//! The reference of the actions as Markdown, made from their own descriptions.

use std::fmt::Write as _;

use super::kinds;
use super::step::PLUGIN;
use crate::action::{ActionSpec, Field, Kind};
use crate::actions;

/// The reference page of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencePage {
    /// The action's name.
    pub name: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// One line: what it does.
    pub summary: String,
    /// The whole page, with a heading of the first level.
    pub markdown: String,
}

/// A page for every action, in the order of the registry.
pub fn reference() -> Vec<ReferencePage> {
    actions::registry().iter().map(|action| page(action.spec())).collect()
}

fn page(spec: &ActionSpec) -> ReferencePage {
    let mut text = format!("# `{}`\n\n{}\n", spec.name, spec.summary);
    if !spec.aliases.is_empty() {
        let aliases: Vec<String> = spec.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let _ = write!(text, "\nAlso: {}.\n", aliases.join(", "));
    }
    if !spec.description.is_empty() {
        let _ = write!(text, "\n{}\n", spec.description);
    }
    if !spec.config.is_empty() {
        text.push_str("\n## Configuration\n\n| key | takes | default | |\n|---|---|---|---|\n");
        rows(&mut text, "", spec.config);
        if spec.open_config {
            text.push_str("\nOther keys are taken as they are.\n");
        }
    }
    if !spec.result.is_empty() {
        text.push_str("\n## Result\n\n| key | type | |\n|---|---|---|\n");
        for field in spec.result {
            let _ = writeln!(text, "| `{}` | {} | {} |", field.name, cell(field.kind), cell(field.doc));
        }
        if spec.open_result {
            text.push_str("\nThe result may hold other keys, too.\n");
        }
    }
    if !spec.examples.is_empty() {
        text.push_str("\n## Examples\n");
        for example in spec.examples {
            // Only where its plugin is, an example of one can be checked.
            let mark = if spec.name == PLUGIN { " fragment" } else { "" };
            let _ = write!(text, "\n{}:\n\n```yaml{mark}\n{}\n```\n", example.title, example.yaml.trim_end());
        }
    }
    ReferencePage {
        name: spec.name.to_owned(),
        aliases: spec.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        summary: spec.summary.to_owned(),
        markdown: text,
    }
}

fn rows(text: &mut String, prefix: &str, fields: &[Field]) {
    for field in fields {
        let spellings: Vec<String> =
            std::iter::once(&field.name).chain(field.aliases).map(|name| format!("`{prefix}{name}`")).collect();
        let default = match (field.required, field.default) {
            (true, _) => "required".to_owned(),
            (false, Some(default)) => format!("`{default}`"),
            (false, None) => String::new(),
        };
        let takes = match object(field.kind) {
            Some(_) if is_list(field.kind) => "a map, or a list of them".to_owned(),
            Some(_) => "a map".to_owned(),
            None => kinds::describe(field.kind),
        };
        let spellings = spellings.join(", ");
        let _ = writeln!(text, "| {spellings} | {} | {default} | {} |", cell(&takes), cell(field.doc));
        if let Some(fields) = object(field.kind) {
            rows(text, &format!("{prefix}{}.", field.name), fields);
        }
    }
}

/// The keys of a map with known keys, also when it is one of several kinds.
fn object(kind: Kind) -> Option<&'static [Field]> {
    match kind {
        Kind::Object(fields) => Some(fields),
        Kind::OneOf(kinds) => kinds.iter().find_map(|kind| object(*kind)),
        Kind::Held(inner) | Kind::OnRequest(inner) | Kind::List(inner) => object(*inner),
        _ => None,
    }
}

/// Whether it takes several.
fn is_list(kind: Kind) -> bool {
    match kind {
        Kind::List(_) => true,
        Kind::Held(inner) | Kind::OnRequest(inner) => is_list(*inner),
        _ => false,
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Flow, ParseOptions};

    #[test]
    fn every_example_of_every_action_validates() {
        for action in actions::registry() {
            let spec = action.spec();
            assert!(!spec.examples.is_empty(), "`{}` has no example", spec.name);
            for example in spec.examples {
                let steps = example.yaml.replace('\n', "\n  ");
                let text = format!("name: example\nsteps:\n  {steps}\n");
                let parsed = Flow::parse(&text, &ParseOptions::default());
                let findings: String = parsed.diagnostics.iter().map(|finding| finding.render(None, false)).collect();
                assert_eq!(findings, "", "`{}`, {}:\n{text}", spec.name, example.title);
            }
        }
    }

    #[test]
    fn every_action_has_a_page_with_all_its_keys() {
        let pages = reference();
        assert_eq!(pages.len(), actions::registry().len());
        for (page, action) in pages.iter().zip(actions::registry()) {
            assert!(page.markdown.starts_with(&format!("# `{}`\n", page.name)));
            for field in action.spec().config {
                assert!(page.markdown.contains(&format!("| `{}`", field.name)), "{} {}", page.name, field.name);
            }
        }
    }
}
