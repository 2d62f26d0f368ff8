//! Checks every reference of a flow against what is defined where it stands.
//!
//! A name that only a later step defines, and a name that is probably a misspelling, are errors. Any other unknown name
//! is a warning: `--var`, an environment or the caller may define it.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::ParseOptions;
use super::facts::{Definer, Definition, Fact, Names, Use};
use super::findings::Findings;
use super::suggest;
use crate::builtins::Builtins;
use crate::diagnostic::Code;

/// Roots that hold names of one kind.
const ROOTS: &[&str] = &["env", "vars", "secrets", "input", "inputs", "steps", "data", "row"];

/// What is known everywhere in the flow.
#[derive(Debug)]
pub(crate) struct Known {
    /// Names of `env`.
    pub(crate) env: Vec<String>,
    /// Declared inputs.
    pub(crate) inputs: Vec<String>,
    /// Columns of rows written in the flow.
    pub(crate) rows: Vec<String>,
    /// Whether names like `BASE_URL` may come from an `env_file`.
    pub(crate) anything: bool,
    /// Whether any name may come from a file of rows.
    pub(crate) any_row: bool,
}

impl Known {
    /// Whether the flow declares inputs, and this is none of them.
    fn lacks_input(&self, name: &str) -> bool {
        !self.inputs.is_empty() && !self.inputs.iter().any(|input| input == name)
    }
}

/// Reports what is wrong with the references.
pub(crate) fn references<'t>(facts: &[Fact<'t>], known: &Known, options: &ParseOptions, findings: &mut Findings<'t>) {
    let mut check = Check {
        facts,
        known,
        options,
        own: known.env.iter().chain(&known.inputs).chain(&known.rows).map(String::as_str).collect(),
        later: None,
        defined: HashMap::default(),
        frames: Vec::new(),
        findings,
    };
    for fact in facts {
        match fact {
            Fact::Define(definition) => check.define(definition),
            Fact::Open(names) => check.frames.push(names),
            Fact::Close => {
                check.frames.pop();
            }
            Fact::Use(used) => check.check(used),
        }
    }
}

/// Every definition of each name, in the order of the flow.
type Definitions<'c, 't> = HashMap<&'c str, Vec<&'c Definition<'t>>, RandomState>;

struct Check<'c, 'f, 't> {
    facts: &'c [Fact<'t>],
    known: &'c Known,
    options: &'c ParseOptions,
    /// Names of `env`, inputs and columns.
    own: HashSet<&'c str, RandomState>,
    /// Every definition of a name, early or late; made when the first name is unknown.
    later: Option<Definitions<'c, 't>>,
    /// What is defined so far; of a step, what its result holds.
    defined: HashMap<&'c str, Option<&'c Names<'t>>, RandomState>,
    frames: Vec<&'c Names<'t>>,
    findings: &'f mut Findings<'t>,
}

impl<'c, 't> Check<'c, '_, 't> {
    fn define(&mut self, definition: &'c Definition<'t>) {
        let keys = match &definition.by {
            Definer::Step(keys) => Some(keys),
            Definer::Output { .. } => None,
        };
        self.defined.insert(&definition.name, keys);
    }

    fn check(&mut self, used: &'c Use) {
        let name = used.root.as_str();
        if used.optional || name == "$" || self.frames.iter().any(|frame| frame.may_have(name)) {
            return;
        }
        if let Some(keys) = self.defined.get(name).copied() {
            if let (Some(keys), Some(key)) = (keys, used.keys.first()) {
                self.check_key(used, keys, key);
            }
            return;
        }
        if self.is_everywhere(name) {
            self.check_root(used);
            return;
        }
        if let Some(definition) = self.later().get(name).map(|definitions| definitions[0]) {
            if !self.frames.iter().any(|frame| frame.later) {
                self.too_early(used, definition);
            }
            return;
        }
        self.unknown(used, name);
    }

    /// Whether the name is known in the whole flow, whatever its steps define.
    fn is_everywhere(&self, name: &str) -> bool {
        self.own.contains(name)
            || ROOTS.contains(&name)
            || Builtins::names().contains(&name)
            || self.options.known_names.iter().any(|known| known == name)
    }

    fn later(&mut self) -> &Definitions<'c, 't> {
        let facts = self.facts;
        self.later.get_or_insert_with(|| {
            let mut later = Definitions::default();
            for fact in facts {
                if let Fact::Define(definition) = fact {
                    later.entry(&definition.name).or_default().push(definition);
                }
            }
            later
        })
    }

    /// `steps.<id>` and `input.<name>` name what must be there.
    fn check_root(&mut self, used: &'c Use) {
        let Some(key) = used.keys.first().map(String::as_str) else { return };
        match used.root.as_str() {
            "steps" => {
                let known = self.defined.get(key).copied().flatten();
                if let Some(keys) = known {
                    if let Some(result_key) = used.keys.get(1) {
                        self.check_key(used, keys, result_key);
                    }
                    return;
                }
                let definition = self.later().get(key).and_then(|all| all.iter().copied().find(|d| is_step(d)));
                if let Some(definition) = definition {
                    self.too_early(used, definition);
                    return;
                }
                let ids = self.defined.iter().filter(|(_, keys)| keys.is_some()).map(|(id, _)| *id);
                let near = suggest::near(key, ids);
                self.report_error(used, format!("no step before this one has the id `{key}`"), &near);
            }
            "input" | "inputs" if self.known.lacks_input(key) => {
                let near = suggest::near(key, self.known.inputs.iter().map(String::as_str));
                self.report_error(used, format!("the flow declares no input `{key}`"), &near);
            }
            _ => {}
        }
    }

    /// A key of a step's result that is probably misspelt.
    fn check_key(&mut self, used: &Use, keys: &Names<'_>, key: &str) {
        if keys.may_have(key) {
            return;
        }
        let near = suggest::near(key, keys.each());
        if !near.is_empty() {
            let message = format!("`{}` has no output or result key `{key}`", used.root);
            self.report_error(used, message, &near);
        }
    }

    fn too_early(&mut self, used: &Use, definition: &Definition<'_>) {
        let message = format!("`{}` is used before it is defined", written(used));
        let line = definition.line;
        let help = match &definition.by {
            Definer::Step(_) => format!("the step `{}` on line {line} runs later, or is this one", definition.name),
            Definer::Output { step } => format!("the step `{step}` on line {line} defines it; use it in a later step"),
        };
        self.findings.error(Code::ReferenceBeforeDefinition, used.span, message).help(help);
    }

    fn unknown(&mut self, used: &Use, name: &str) {
        if self.known.any_row {
            return;
        }
        let capitals = !name.chars().any(char::is_lowercase);
        let near = self.near(name);
        if !capitals && !near.is_empty() {
            self.report_error(used, format!("`{name}` is not defined"), &near);
            return;
        }
        if capitals && self.known.anything {
            return;
        }
        let message = format!("`{name}` is not defined in this file");
        let help = match suggest::did_you_mean(&near) {
            Some(question) => format!("{question} Otherwise give it with `--var`, an environment or `env_file`"),
            None => "give it with `--var`, an environment or `env_file`".to_owned(),
        };
        self.findings.warning(Code::UndefinedReference, used.span, message).help(help);
    }

    /// Names that were probably meant: those known here or defined anywhere in the flow, at most two edits away.
    fn near(&mut self, name: &str) -> Vec<&'c str> {
        let defined: Vec<&'c str> = self.later().keys().copied().collect();
        let framed = self.frames.iter().copied().flat_map(Names::each);
        let given = self.options.known_names.iter().map(String::as_str);
        let fixed = Builtins::names().iter().chain(ROOTS).copied();
        let candidates = defined.into_iter().chain(self.own.iter().copied()).chain(fixed).chain(framed).chain(given);
        let mut near = suggest::near(name, candidates);
        near.retain(|candidate| strsim::osa_distance(name, candidate) <= 2);
        near
    }

    fn report_error(&mut self, used: &Use, message: String, near: &[&str]) {
        self.findings.error(Code::UndefinedReference, used.span, message).help(suggest::did_you_mean(near));
    }
}

fn is_step(definition: &Definition<'_>) -> bool {
    matches!(definition.by, Definer::Step(_))
}

fn written(used: &Use) -> String {
    std::iter::once(&used.root).chain(&used.keys).map(String::as_str).collect::<Vec<_>>().join(".")
}
