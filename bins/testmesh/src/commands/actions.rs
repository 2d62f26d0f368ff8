//! `testmesh actions`: the reference of the actions, from the descriptions that validation uses.
//!
//! On a terminal its Markdown is laid out for reading; elsewhere it stays Markdown.

use std::fmt::Write as _;

use testmesh_runner::flow::{ReferencePage, reference};
use testmesh_runner::plugins::{Description, Plugins};

use crate::args::ActionsArgs;
use crate::console::{Paint, Screen};
use crate::exit::{Exit, Stop};
use crate::settings;

/// Prints the list of actions, or one action's page.
pub(crate) fn actions(args: &ActionsArgs, screen: &mut Screen) -> Result<Exit, Stop> {
    let pages = reference();
    let plugins = settings::plugins(&args.plugins)?;
    let Some(wanted) = &args.name else {
        screen.print(&list(&pages, &plugins, screen.paint())?);
        return Ok(Exit::Passed);
    };
    if let Some(plugin) = wanted.strip_prefix("plugin.") {
        let name = plugin.split('.').next().unwrap_or_default();
        show(&describe(&plugins, name)?.markdown(), screen);
        return Ok(Exit::Passed);
    }
    let page = pages.iter().find(|page| page.name == *wanted || page.aliases.contains(wanted)).ok_or_else(|| {
        let names: Vec<_> = pages.iter().map(|page| page.name.as_str()).collect();
        Stop::input(format!("no action `{wanted}`: {}", names.join(", ")))
    })?;
    show(&page.markdown, screen);
    Ok(Exit::Passed)
}

fn show(markdown: &str, screen: &mut Screen) {
    if screen.is_terminal() {
        screen.print(&laid_out(markdown, screen.paint(), screen.width()));
    } else {
        screen.print(markdown);
    }
}

fn describe(plugins: &Plugins, name: &str) -> Result<Description, Stop> {
    plugins.describe(name).map_err(|error| {
        let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
        Stop::input(format!("{error}{help}"))
    })
}

/// The actions, then those of the plugins; of a plugin that cannot be used, why.
fn list(pages: &[ReferencePage], plugins: &Plugins, paint: Paint) -> Result<String, Stop> {
    let mut rows: Vec<(String, String)> = pages.iter().map(|page| (page.name.clone(), page.summary.clone())).collect();
    for name in plugins.names().map_err(|error| Stop::input(error.to_string()))? {
        match plugins.describe(&name) {
            Ok(plugin) => {
                rows.extend(plugin.actions.iter().map(|action| (plugin.action_name(action), action.summary.clone())));
            }
            Err(error) => rows.push((format!("plugin.{name}"), error.to_string())),
        }
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, summary) in rows {
        let name = format!("{name:width$}");
        let _ = writeln!(text, "{}  {summary}", paint.bold(&name));
    }
    text.push_str("\n`testmesh actions NAME` shows what one of them takes and gives.\n");
    Ok(text)
}

/// Markdown for a terminal: headings stand out, tables are lists of their first column, code is set in.
fn laid_out(markdown: &str, paint: Paint, width: usize) -> String {
    let mut text = String::new();
    let mut in_code = false;
    let mut rows_seen = 0;
    for line in markdown.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            let _ = writeln!(text, "    {line}");
        } else if let Some(row) = line.strip_prefix('|') {
            rows_seen += 1;
            // The first two lines are the table's head.
            if rows_seen > 2 {
                push_row(&mut text, row, paint, width);
            }
        } else {
            rows_seen = 0;
            let heading = line.trim_start_matches('#');
            if heading.len() < line.len() {
                let _ = writeln!(text, "{}", paint.bold(&heading.trim().replace('`', "")));
            } else {
                push_wrapped(&mut text, &line.replace('`', ""), 0, width);
            }
        }
    }
    text
}

fn push_row(text: &mut String, row: &str, paint: Paint, width: usize) {
    let cells: Vec<_> = split_cells(row).into_iter().map(|cell| cell.replace('`', "")).collect();
    let Some((name, rest)) = cells.split_first() else { return };
    let (doc, facts) = rest.split_last().map_or(("", rest), |(doc, facts)| (doc.as_str(), facts));
    let facts: Vec<_> = facts.iter().filter(|fact| !fact.is_empty()).map(String::as_str).collect();
    let _ = writeln!(text, "  {}  {}", paint.good(name), paint.dim(&facts.join(", ")));
    push_wrapped(text, doc, 6, width);
}

/// The cells of a row; `\|` is no border.
fn split_cells(row: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut characters = row.trim_end().trim_end_matches('|').chars().peekable();
    while let Some(character) = characters.next() {
        match (character, cells.last_mut()) {
            ('\\', Some(cell)) if characters.next_if_eq(&'|').is_some() => cell.push('|'),
            ('|', _) => cells.push(String::new()),
            (other, Some(cell)) => cell.push(other),
            (_, None) => {}
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

fn push_wrapped(text: &mut String, paragraph: &str, indent: usize, width: usize) {
    let room = width.saturating_sub(indent).clamp(20, 100);
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > room {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            let _ = write!(text, "{:indent$}", "");
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_laid_out_for_a_terminal() {
        let markdown = "# `log`\n\nSays `x`.\n\n| key | takes | |\n|---|---|---|\n| `level` | `a` \\| `b` | How loud |\n\n```yaml\n- a\n```\n";
        let expect = "log\n\nSays x.\n\n  level  a | b\n      How loud\n\n    - a\n";
        assert_eq!(laid_out(markdown, Paint::plain(), 80), expect);
    }

    #[test]
    fn long_paragraphs_are_wrapped() {
        let mut text = String::new();
        push_wrapped(&mut text, "one two three four five six seven", 2, 22);
        assert_eq!(text, "  one two three four\n  five six seven\n");
    }
}
