//! Scripts of a collection: what they plainly check and keep becomes assertions and outputs, line by line; every other
//! line is named. A line that runs under a condition or in a loop is never taken over.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::LazyLock;

use indexmap::IndexMap;
use regex::Regex;
use serde_json::Value as Json;
use testmesh_runner::flow::looks_like_secret;

use crate::import::secrets::is_secret;
use crate::import::words::variable;

/// The longest line that is shown, in letters.
const LONGEST_LINE: usize = 160;
/// Words of expressions that cannot stand after a `.` there.
const WORDS: [&str; 17] = [
    "and",
    "or",
    "not",
    "in",
    "is",
    "contains",
    "matches",
    "exists",
    "startsWith",
    "endsWith",
    "starts_with",
    "ends_with",
    "null",
    "nil",
    "true",
    "false",
    "matches_schema",
];

/// What a script comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) assert: Vec<String>,
    pub(super) output: IndexMap<String, String>,
    /// Its other lines.
    pub(super) left_out: Vec<String>,
}

impl Script {
    /// Reads the script of an event.
    pub(super) fn read(event: &Json) -> Self {
        let source = match &event["script"]["exec"] {
            Json::Array(lines) => lines.iter().filter_map(Json::as_str).collect::<Vec<_>>().join("\n"),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        let mut script = Self::default();
        if event["disabled"] == Json::Bool(true) || event["script"]["disabled"] == Json::Bool(true) {
            return script;
        }
        let before = event["listen"].as_str() != Some("test");
        let mut reader = Reader { script: &mut script, parsed: HashSet::new(), blocks: Vec::new(), title: None };
        for line in without_comments(&source).lines().map(str::trim).filter(|line| !line.is_empty()) {
            if before {
                reader.leave(" before the request", line);
            } else {
                reader.line(line);
            }
        }
        script
    }
}

/// A script without its comments; text in quotes stays.
fn without_comments(source: &str) -> String {
    let mut made = String::with_capacity(source.len());
    let mut letters = source.chars().peekable();
    let mut quote = None;
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', Some(_)) => {
                made.push(letter);
                made.extend(letters.next());
                continue;
            }
            ('/', None) if letters.peek() == Some(&'/') => {
                while letters.next_if(|next| *next != '\n').is_some() {}
                continue;
            }
            ('/', None) if letters.peek() == Some(&'*') => {
                let mut last = ' ';
                for next in letters.by_ref() {
                    if last == '*' && next == '/' {
                        break;
                    }
                    last = next;
                }
                continue;
            }
            ('"' | '\'' | '`', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            // Only texts in backquotes go over lines.
            ('\n', Some(open)) if open != '`' => quote = None,
            _ => {}
        }
        made.push(letter);
    }
    made
}

/// A block that a line opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    /// `pm.test("…", function () {`, whose lines always run.
    Test,
    /// Any other.
    Other,
}

struct Reader<'s> {
    script: &'s mut Script,
    /// Names of what was read as JSON.
    parsed: HashSet<String>,
    blocks: Vec<BlockKind>,
    title: Option<String>,
}

impl Reader<'_> {
    fn leave(&mut self, of: &str, line: &str) {
        self.script.left_out.push(format!("a line of its script{of}: {}", redacted(line)));
    }

    fn line(&mut self, line: &str) {
        let patterns = &*PATTERNS;
        let found = patterns.test.captures(line);
        let mut rest = line;
        if let Some(found) = &found {
            self.title = found.iter().skip(1).flatten().next().map(|title| title.as_str().to_owned());
            rest = &line[found[0].len()..];
        }
        let certain = !self.blocks.contains(&BlockKind::Other);
        let mut left = false;
        for statement in statements(rest) {
            if !statement.contains(char::is_alphanumeric) {
                continue;
            }
            left |= !certain || !self.statement(statement);
        }
        self.count_blocks(line, found.is_some());
        if left {
            let title = self.title.as_deref().filter(|_| found.is_some() || !self.blocks.is_empty());
            let of = title.map(|title| format!(" (\"{title}\")")).unwrap_or_default();
            self.leave(&of, line);
        }
    }

    /// Opens and closes blocks as the line's braces do.
    fn count_blocks(&mut self, line: &str, is_test: bool) {
        let mut open = Vec::new();
        for letter in without_texts(line).chars() {
            match letter {
                '{' => open.push(BlockKind::Other),
                '}' if open.pop().is_none() => drop(self.blocks.pop()),
                _ => {}
            }
        }
        if let (true, Some(first)) = (is_test, open.first_mut()) {
            *first = BlockKind::Test;
        }
        self.blocks.append(&mut open);
        if self.blocks.is_empty() {
            self.title = self.title.take().filter(|_| is_test);
        }
    }

    /// Whether a statement was taken over.
    fn statement(&mut self, statement: &str) -> bool {
        let patterns = &*PATTERNS;
        if let Some(found) = patterns.json.captures(statement) {
            self.parsed.insert(found[1].to_owned());
            return true;
        }
        if let Some(assertion) = self.assertion(statement) {
            if !self.script.assert.contains(&assertion) {
                self.script.assert.push(assertion);
            }
            return true;
        }
        if let Some(found) = patterns.keeps.captures(statement) {
            // The last bracket may be one of the value's own.
            let values = [found["value"].to_owned(), format!("{})", &found["value"])];
            if let Some(path) = values.iter().find_map(|value| self.kept(value)) {
                self.script.output.insert(variable(&found["name"]), path);
                return true;
            }
        }
        false
    }

    /// The path to a value of the answer.
    fn kept(&self, value: &str) -> Option<String> {
        match PATTERNS.header_value.captures(value) {
            Some(header) => Some(format!("headers[\"{}\"]", &header[1])),
            None => self.path(value).filter(|path| path != "body"),
        }
    }

    fn assertion(&self, statement: &str) -> Option<String> {
        let patterns = &*PATTERNS;
        if let Some(found) = patterns.status.captures(statement) {
            return Some(format!("status == {}", found.iter().skip(1).flatten().next()?.as_str()));
        }
        if let Some(found) = patterns.one_of.captures(statement) {
            let codes: Vec<&str> = found[1].split(',').map(str::trim).filter(|code| !code.is_empty()).collect();
            return Some(format!("status in [{}]", codes.join(", ")));
        }
        if let Some(found) = patterns.to_be.captures(statement) {
            return Some(
                match &found[1] {
                    "ok" => "status == 200",
                    "success" => "status >= 200 and status < 300",
                    "json" => "headers[\"content-type\"] contains \"json\"",
                    "notFound" => "status == 404",
                    "unauthorized" => "status == 401",
                    "forbidden" => "status == 403",
                    _ => "status == 400",
                }
                .to_owned(),
            );
        }
        if let Some(found) = patterns.time.captures(statement) {
            return Some(format!("duration_ms < {}", &found[1]));
        }
        if let Some(found) = patterns.has_header.captures(statement) {
            return Some(format!("headers[\"{}\"] exists", &found[1]));
        }
        let found = patterns.expects.captures(statement)?;
        let subject = match patterns.header_value.captures(&found["subject"]) {
            Some(header) => format!("headers[\"{}\"]", &header[1]),
            None if patterns.body_text.is_match(&found["subject"]) => "body_text".to_owned(),
            None => self.path(&found["subject"])?,
        };
        compared(&subject, &found["what"], found.name("value").map(|value| value.as_str()))
    }

    /// The path into the body that `json.a.b[0]` means.
    fn path(&self, text: &str) -> Option<String> {
        let found = PATTERNS.json_path.captures(text.trim())?;
        if let Some(name) = found.name("name") {
            self.parsed.get(name.as_str())?;
        }
        let mut path = "body".to_owned();
        for part in PATTERNS.part.captures_iter(&found["path"]) {
            // Writing to a text cannot fail.
            let _ = match (part.get(1), part.get(2), part.get(3)) {
                (Some(key), ..) if !WORDS.contains(&key.as_str()) => write!(path, ".{}", key.as_str()),
                (_, Some(index), _) => write!(path, "[{}]", index.as_str()),
                (Some(key), ..) | (.., Some(key)) => write!(path, "[\"{}\"]", key.as_str()),
                (None, None, None) => Ok(()),
            };
        }
        Some(path)
    }
}

/// A condition in our words.
fn compared(subject: &str, what: &str, value: Option<&str>) -> Option<String> {
    let literal = || value.and_then(literal);
    Some(match what {
        "equal" | "eql" | "eq" | "equals" | "be.equal" | "be.eql" | "be.equals" | "deep.equal" => {
            format!("{subject} == {}", literal()?)
        }
        "be.above" | "be.greaterThan" | "be.gt" => format!("{subject} > {}", number(value?)?),
        "be.below" | "be.lessThan" | "be.lt" => format!("{subject} < {}", number(value?)?),
        "be.at.least" | "be.gte" => format!("{subject} >= {}", number(value?)?),
        "be.at.most" | "be.lte" => format!("{subject} <= {}", number(value?)?),
        "include" | "contain" | "includes" => format!("{subject} contains {}", literal()?),
        "be.true" => format!("{subject} == true"),
        "be.false" => format!("{subject} == false"),
        "be.null" => format!("{subject} is null"),
        "exist" => format!("{subject} exists"),
        "be.empty" => format!("{subject} is empty"),
        "be.a" | "be.an" => match literal()?.trim_matches('"') {
            kind @ ("string" | "number" | "boolean" | "array" | "object") => format!("{subject} is {kind}"),
            _ => return None,
        },
        "have.property" => {
            let key = literal()?;
            format!("{subject}[{key}] exists")
        }
        "have.length" | "have.lengthOf" => format!("len({subject}) == {}", number(value?)?),
        _ => return None,
    })
}

/// A number, a word or a text of JavaScript as one of ours.
fn literal(text: &str) -> Option<String> {
    let text = text.trim();
    if matches!(text, "true" | "false" | "null") {
        return Some(text.to_owned());
    }
    if let Some(number) = number(text) {
        return Some(number);
    }
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\'' | '`'))?;
    let inside = text.get(1..)?.strip_suffix(quote)?;
    let plain = !inside.contains([quote, '\\', '"', '{', '$', '\n']);
    plain.then(|| format!("\"{inside}\""))
}

fn number(text: &str) -> Option<String> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| compile(r"^-?\d{1,15}(\.\d{1,15})?$"));
    NUMBER.is_match(text.trim()).then(|| text.trim().to_owned())
}

/// The statements of a line: what stands between `;` outside of texts.
fn statements(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut quote, mut escaped) = (0, None, false);
    for (at, letter) in line.char_indices() {
        match (letter, quote) {
            _ if escaped => escaped = false,
            ('\\', Some(_)) => escaped = true,
            ('"' | '\'' | '`', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            (';', None) => {
                found.push(line[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(line[start..].trim());
    found
}

/// A line with every text in it empty.
fn without_texts(line: &str) -> String {
    static TEXTS: LazyLock<Regex> =
        LazyLock::new(|| compile(r#""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`"#));
    TEXTS.replace_all(line, "\"\"").into_owned()
}

/// A line to be shown: short, and without the texts that may be credentials.
fn redacted(line: &str) -> String {
    static TEXTS: LazyLock<Regex> = LazyLock::new(|| compile(r#"["'`]([^"'`]{6,})["'`]"#));
    static NAMES: LazyLock<Regex> = LazyLock::new(|| compile(r"[A-Za-z_][\w-]*"));
    let named = NAMES.find_iter(line).any(|name| is_secret(name.as_str()));
    let shown = TEXTS.replace_all(line, |found: &regex::Captures<'_>| {
        let text = &found[1];
        let is_name =
            is_secret(text) && text.chars().all(|letter| letter.is_ascii_alphabetic() || matches!(letter, '_' | '-'));
        let hidden = looks_like_secret("token", text) || (named && !text.contains(' ') && !is_name);
        if hidden { "\"***\"".to_owned() } else { found[0].to_owned() }
    });
    let mut short: String = shown.chars().take(LONGEST_LINE).collect();
    if short.len() < shown.len() {
        short.push('…');
    }
    short
}

struct Patterns {
    test: Regex,
    json: Regex,
    keeps: Regex,
    status: Regex,
    one_of: Regex,
    to_be: Regex,
    time: Regex,
    has_header: Regex,
    expects: Regex,
    header_value: Regex,
    body_text: Regex,
    json_path: Regex,
    part: Regex,
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns are fixed")
}

/// Each is for a whole statement, but for the brackets that end what stands around it.
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let whole = |pattern: &str| compile(&format!(r"^(?:{pattern})[\s)}}]*$"));
    let path = r#"(?:\.[A-Za-z_$][\w$]*|\[\d+\]|\["[^"\\]*"\]|\['[^'\\]*'\])"#;
    Patterns {
        test: compile(
            r#"^pm\.test\(\s*(?:"([^"]*)"|'([^']*)'|`([^`]*)`)\s*,\s*(?:async\s+)?(?:function\s*\(\s*\w*\s*\)|\(\s*\w*\s*\)\s*=>)\s*\{?"#,
        ),
        json: whole(
            r"(?:var|let|const)\s+([A-Za-z_]\w*)\s*=\s*(?:pm\.response\.json\(\)|JSON\.parse\(\s*responseBody\s*\))",
        ),
        keeps: whole(
            r#"(?:pm\.(?:environment|collectionVariables|globals|variables)\.set|postman\.set(?:Environment|Global)Variable)\(\s*["'](?P<name>[^"']+)["']\s*,\s*(?P<value>.+?)\s*\)"#,
        ),
        status: whole(
            r"pm\.response\.to\.have\.status\(\s*(\d{3})\s*\)|pm\.expect\(\s*pm\.response\.code\s*\)\.to\.(?:be\.)?(?:equals?|eql|eq)\(\s*(\d{3})\s*\)|tests\[[^\]]*\]\s*=\s*responseCode\.code\s*={2,3}\s*(\d{3})",
        ),
        one_of: whole(r"pm\.expect\(\s*pm\.response\.code\s*\)\.to\.be\.oneOf\(\s*\[([\d,\s]+)\]\s*\)"),
        to_be: whole(r"pm\.response\.to\.be\.(ok|success|json|notFound|unauthorized|forbidden|badRequest)"),
        time: whole(r"pm\.expect\(\s*pm\.response\.responseTime\s*\)\.to\.be\.(?:below|lessThan)\(\s*(\d{1,9})\s*\)"),
        has_header: whole(r#"pm\.response\.to\.have\.header\(\s*["']([\w-]+)["']\s*\)"#),
        expects: whole(
            r"pm\.expect\(\s*(?P<subject>[^;]+?)\s*\)\.to\.(?P<what>[A-Za-z]+(?:\.[A-Za-z]+)*?)(?:\(\s*(?P<value>[^()]*?)\s*\))?",
        ),
        header_value: compile(r#"^pm\.response\.headers\.get\(\s*["']([\w-]+)["']\s*\)$"#),
        body_text: compile(r"^pm\.response\.text\(\)$"),
        json_path: compile(&format!(r"^(?:pm\.response\.json\(\)|(?P<name>[A-Za-z_]\w*))(?P<path>{path}*)$")),
        part: compile(r#"\.([A-Za-z_$][\w$]*)|\[(\d+)\]|\[["']([^"'\\]*)["']\]"#),
    }
});

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn script(text: &str) -> Script {
        Script::read(&json!({"listen": "test", "script": {"exec": text}}))
    }

    #[test]
    fn plain_checks_become_assertions() {
        for (line, expect) in [
            ("pm.response.to.have.status(201);", "status == 201"),
            ("pm.test('ok', () => pm.expect(pm.response.code).to.be.oneOf([200, 204]));", "status in [200, 204]"),
            ("pm.test(\"ok\", function () { pm.response.to.be.success; });", "status >= 200 and status < 300"),
            ("tests[\"made\"] = responseCode.code === 201;", "status == 201"),
            ("pm.expect(pm.response.responseTime).to.be.below(500);", "duration_ms < 500"),
            ("pm.response.to.have.header('X-Id');", "headers[\"X-Id\"] exists"),
            ("pm.expect(pm.response.json().items[0].name).to.eql(\"Ada\");", "body.items[0].name == \"Ada\""),
            ("const b = pm.response.json(); pm.expect(b.in).to.be.an('array');", "body[\"in\"] is array"),
            ("var j = JSON.parse(responseBody); pm.expect(j.n).to.be.above(1.5)", "body.n > 1.5"),
            (
                "pm.expect(pm.response.headers.get('Content-Type')).to.include('json');",
                "headers[\"Content-Type\"] contains \"json\"",
            ),
            ("pm.expect(pm.response.text()).to.include('a')", "body_text contains \"a\""),
            ("pm.expect(pm.response.json()).to.have.property('id');", "body[\"id\"] exists"),
        ] {
            let found = script(line);
            assert_eq!(found, Script { assert: vec![expect.to_owned()], ..Script::default() }, "{line}");
        }
    }

    #[test]
    fn what_answers_give_is_kept() {
        for (line, name, path) in [
            ("pm.environment.set(\"user-id\", pm.response.json().data.id);", "user_id", "body.data.id"),
            ("let b = pm.response.json(); pm.collectionVariables.set('t', b.tokens[0]);", "t", "body.tokens[0]"),
            ("postman.setEnvironmentVariable('l', pm.response.headers.get('Location'))", "l", "headers[\"Location\"]"),
        ] {
            let found = script(line);
            assert_eq!(found.output.get(name).map(String::as_str), Some(path), "{line}: {found:?}");
            assert!(found.left_out.is_empty(), "{line}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_certain_is_left_out_and_named() {
        for line in [
            "if (pm.response.code === 200) { pm.response.to.have.status(200); }",
            "if (x) {\npm.response.to.have.status(200);\n}",
            "pm.test('a', function () {\n  items.forEach(i => {\n    pm.response.to.have.status(200);\n  });\n});",
            "pm.expect(pm.response.code).to.not.equal(200);",
            "pm.expect(other.x).to.eql(1);",
            "pm.expect(pm.response.json().x).to.eql(pm.environment.get('x'));",
            "pm.expect(pm.response.json().x).to.eql('{{x}}');",
            "x && pm.response.to.have.status(200);",
            "pm.environment.set('a', 'b');",
        ] {
            let found = script(line);
            assert!(found.assert.is_empty() && found.output.is_empty(), "{line}: {found:?}");
            assert!(!found.left_out.is_empty(), "{line}");
        }
        let found = script("// pm.response.to.have.status(200);\n/* pm.response.to.have.status(200);\n */");
        assert_eq!(found, Script::default());
    }

    #[test]
    fn lines_are_shown_without_credentials() {
        for (line, expect) in [
            ("pm.environment.set('token', 'abc-123456');", "pm.environment.set('token', \"***\");"),
            ("console.log('hello world');", "console.log('hello world');"),
            ("pm.globals.set('password', \"hunter22\")", "pm.globals.set('password', \"***\")"),
        ] {
            assert_eq!(redacted(line), expect);
        }
    }
}
