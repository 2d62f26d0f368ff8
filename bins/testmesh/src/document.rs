//! One document of a flow file, as a server takes it: alone, with its lines where they were.

/// The text of document number `index` of `text`: the lines of all others are emptied, so that what is said about line
/// 12 of it is about line 12 of the file.
pub(crate) fn alone(text: &str, index: usize) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut current = 0;
    let mut has_content = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        // In YAML a line that begins with this is a marker wherever it stands, in block texts too.
        if content == "---" || content.starts_with("--- ") {
            if has_content {
                current += 1;
            }
            let rest = content[3..].trim_start();
            has_content = !rest.is_empty() && !rest.starts_with('#');
        } else if !content.is_empty() && !content.trim_start().starts_with('#') && !content.starts_with('%') {
            has_content = true;
        }
        if current == index && content != "---" {
            kept.push_str(line);
        } else if line.ends_with('\n') {
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::alone;

    #[test]
    fn a_document_keeps_its_lines() {
        let text = "# first\n---\nname: a\n---\n\nname: b\nsteps: []\n--- # c\nname: c\n";
        assert_eq!(alone(text, 0), "# first\n\nname: a\n\n\n\n\n\n\n");
        assert_eq!(alone(text, 1), "\n\n\n\n\nname: b\nsteps: []\n\n\n");
        assert_eq!(alone(text, 2), "\n\n\n\n\n\n\n--- # c\nname: c\n");
        assert_eq!(alone("name: a", 0), "name: a");
    }
}
