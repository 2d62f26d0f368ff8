//! Collections of Postman, 2.0 and 2.1: a flow for each folder at the top, and one for the requests beside the folders;
//! or one flow, where what one folder keeps is used by another.

mod request;
mod script;

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Value as Json, json};

use self::script::Script;
use super::words::{reference, references, refers, scalar, variable};
use super::{Draft, GroupBy, StepDraft, secrets};

/// Variables that Postman makes itself, and what gives their like here.
const DYNAMIC: [(&str, &str); 24] = [
    ("$guid", "UUID"),
    ("$randomUUID", "UUID"),
    ("$timestamp", "TIMESTAMP"),
    ("$isoTimestamp", "ISO_TIMESTAMP"),
    ("$randomInt", "random_int(0, 1000)"),
    ("$randomAlphaNumeric", "random_string(1)"),
    ("$randomPassword", "fake.password()"),
    ("$randomUserName", "fake.username()"),
    ("$randomWord", "fake.word()"),
    ("$randomWords", "fake.sentence()"),
    ("$randomLoremWord", "fake.word()"),
    ("$randomLoremSentence", "fake.sentence()"),
    ("$randomLoremParagraph", "fake.paragraph()"),
    ("$randomEmail", "fake.email()"),
    ("$randomExampleEmail", "fake.email()"),
    ("$randomFirstName", "fake.first_name()"),
    ("$randomLastName", "fake.last_name()"),
    ("$randomFullName", "fake.name()"),
    ("$randomPhoneNumber", "fake.phone()"),
    ("$randomCity", "fake.city()"),
    ("$randomCountry", "fake.country()"),
    ("$randomStreetAddress", "fake.address()"),
    ("$randomCompanyName", "fake.company()"),
    ("$randomUrl", "fake.url()"),
];

/// The flows of a collection. Without `group_by` a flow for each folder, unless these depend on each other.
///
/// # Errors
/// It is no collection of these versions, or has no request.
pub(crate) fn read(document: &Json, name: &str, group_by: Option<GroupBy>) -> Result<Vec<Draft>, String> {
    // Exported by the API, the collection is one level down.
    let root = document.get("collection").unwrap_or(document);
    let Some(items) = root["item"].as_array() else {
        let old = if root["requests"].is_array() {
            ", but one of version 1: export it as 2.1"
        } else {
            ": `item` is missing"
        };
        return Err(format!("it is no Postman collection 2.0 or 2.1{old}"));
    };
    let collection = Collection::of(root, name);
    let around = Around { auth: &root["auth"], scripts: vec![("the collection", &root["event"])], path: Vec::new() };
    let drafts = match group_by {
        Some(GroupBy::All) => vec![collection.one(items, &around)],
        Some(GroupBy::Request) => collection.by_request(items, &around),
        Some(GroupBy::Group) => collection.by_folder(items, &around),
        None => {
            let drafts = collection.by_folder(items, &around);
            if depend(&drafts) { vec![collection.one(items, &around)] } else { drafts }
        }
    };
    let mut drafts: Vec<Draft> = drafts.into_iter().filter(|draft| !draft.steps.is_empty()).collect();
    if drafts.is_empty() {
        return Err("the collection has no request".to_owned());
    }
    for draft in &mut drafts {
        collection.give_variables(draft);
    }
    Ok(drafts)
}

/// What holds for all requests.
struct Collection<'c> {
    root: &'c Json,
    title: String,
    /// Their values are marked.
    variables: IndexMap<String, String>,
}

/// What a request has from the folders around it.
#[derive(Clone)]
struct Around<'c> {
    auth: &'c Json,
    /// Of whom, and what.
    scripts: Vec<(&'c str, &'c Json)>,
    path: Vec<&'c str>,
}

impl<'c> Collection<'c> {
    fn of(root: &'c Json, name: &str) -> Self {
        let title = root["info"]["name"].as_str().filter(|title| !title.trim().is_empty()).unwrap_or(name).to_owned();
        let mut variables = IndexMap::new();
        for entry in root["variable"].as_array().into_iter().flatten() {
            let key = entry["key"].as_str().or(entry["id"].as_str()).filter(|key| !key.trim().is_empty());
            if let Some(key) = key.filter(|_| entry["disabled"] != json!(true)) {
                variables.insert(variable(key), marked(&scalar(&entry["value"])));
            }
        }
        Self { root, title, variables }
    }

    fn one(&self, items: &'c [Json], around: &Around<'c>) -> Draft {
        let mut draft = self::draft(self.title.clone());
        draft.description = described(&self.root["info"]["description"]);
        self.steps(items, around, &mut draft);
        leave_scripts(&mut draft, &around.scripts);
        draft
    }

    fn by_folder(&self, items: &'c [Json], around: &Around<'c>) -> Vec<Draft> {
        let mut own = draft(self.title.clone());
        own.description = described(&self.root["info"]["description"]);
        let mut drafts = Vec::new();
        for item in items {
            if item["item"].is_array() {
                let folder = item["name"].as_str().unwrap_or("folder");
                let mut draft = self::draft(format!("{}: {folder}", self.title));
                draft.description = described(&item["description"]);
                self.folder(item, around, &mut draft);
                drafts.push(draft);
            } else {
                own.steps.push(request::step(item, around));
            }
        }
        drafts.insert(0, own);
        if let Some(first) = drafts.iter_mut().find(|draft| !draft.steps.is_empty()) {
            leave_scripts(first, &around.scripts);
        }
        drafts
    }

    fn by_request(&self, items: &'c [Json], around: &Around<'c>) -> Vec<Draft> {
        let mut all = self.one(items, around);
        let left_out = std::mem::take(&mut all.left_out);
        let alone = all.steps.into_iter().map(|step| {
            let mut draft = self::draft(format!("{}: {}", self.title, step.name));
            draft.steps.push(step);
            draft
        });
        let mut drafts: Vec<Draft> = alone.collect();
        if let Some(first) = drafts.first_mut() {
            first.left_out = left_out;
        }
        drafts
    }

    fn steps(&self, items: &'c [Json], around: &Around<'c>, draft: &mut Draft) {
        for item in items {
            if item["item"].is_array() {
                let mut inside = around.clone();
                inside.path.push(item["name"].as_str().unwrap_or("folder"));
                self.folder(item, &inside, draft);
            } else {
                draft.steps.push(request::step(item, around));
            }
        }
    }

    fn folder(&self, folder: &'c Json, around: &Around<'c>, draft: &mut Draft) {
        let mut inside = around.clone();
        if folder["auth"].is_object() {
            inside.auth = &folder["auth"];
        }
        let scripts = (folder["name"].as_str().unwrap_or("a folder"), &folder["event"]);
        inside.scripts.push(scripts);
        leave_scripts(draft, &[scripts]);
        self.steps(folder["item"].as_array().map_or(&[][..], Vec::as_slice), &inside, draft);
    }

    /// The variables that the steps use: those of the collection with their values, the others to be given.
    fn give_variables(&self, draft: &mut Draft) {
        let captured: HashSet<String> = draft.steps.iter().flat_map(|step| step.output.keys().cloned()).collect();
        for step in &mut draft.steps {
            let mut config = Json::Object(std::mem::take(&mut step.config));
            self.rename(&mut config, &captured);
            if let Json::Object(config) = config {
                step.config = config;
            }
        }
        let mut waiting: Vec<String> = Vec::new();
        for step in &draft.steps {
            secrets::texts(&Json::Object(step.config.clone()), &mut |text| waiting.extend(names(text)));
        }
        let mut known: HashSet<String> = HashSet::new();
        let mut used: HashSet<String> = HashSet::new();
        while let Some(name) = waiting.pop() {
            if !known.insert(name.clone()) {
                continue;
            }
            match self.variables.get(&name) {
                // What an answer gives is nearer than what the collection has; that is for the requests before it.
                Some(value) if !(value.is_empty() && captured.contains(&name)) => {
                    waiting.extend(names(value));
                    used.insert(name);
                }
                _ if captured.contains(&name) => {}
                _ => {
                    draft
                        .input
                        .insert(name.clone(), format!("the variable {name}, which the collection does not have"));
                }
            }
        }
        draft.input.sort_keys();
        // A value may refer only to what stands before it.
        let mut left: Vec<&String> = self.variables.keys().filter(|name| used.contains(*name)).collect();
        while !left.is_empty() {
            let ready = |name: &&String| {
                names(&self.variables[*name]).iter().all(|other| !left.contains(&other) || other == *name)
            };
            let next = left.iter().position(ready).unwrap_or(0);
            let name = left.remove(next);
            draft.env.insert(name.clone(), self.variables[name].clone());
        }
    }

    /// Makes the variables with a secret's name references to secrets, and keeps texts texts.
    fn rename(&self, value: &mut Json, captured: &HashSet<String>) {
        match value {
            Json::String(text) if refers(text) => {
                for name in names(text) {
                    let has_value = self.variables.get(&name).is_none_or(|value| !value.is_empty() && !refers(value));
                    if secrets::is_secret(&name) && has_value && !captured.contains(&name) {
                        *text = text.replace(&reference(&name), &reference(&format!("secrets.{name}")));
                    } else if captured.contains(&name) && *text == reference(&name) {
                        // Postman inserts text, whatever it was in the answer.
                        *text = reference(&format!("string({name})"));
                    }
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.rename(item, captured)),
            Json::Object(map) => map.values_mut().for_each(|value| self.rename(value, captured)),
            _ => {}
        }
    }
}

fn draft(name: String) -> Draft {
    Draft { name, ..Draft::default() }
}

/// The names of variables in a text; not those of generators.
fn names(text: &str) -> Vec<String> {
    let named = references(text)
        .map(|inside| inside.strip_prefix("string(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(inside));
    let generated = |name: &str| name.starts_with("secrets.") || DYNAMIC.iter().any(|(_, ours)| *ours == name);
    named.filter(|name| !generated(name)).map(str::to_owned).collect()
}

/// Whether a flow uses what another one keeps of its answers.
fn depend(drafts: &[Draft]) -> bool {
    drafts.iter().enumerate().any(|(index, draft)| {
        let mut used = HashSet::new();
        for step in &draft.steps {
            secrets::texts(&Json::Object(step.config.clone()), &mut |text| used.extend(names(text)));
        }
        let kept_here = |name: &String| draft.steps.iter().any(|step| step.output.contains_key(name));
        let kept_elsewhere = |name: &String| {
            let mut others = drafts.iter().enumerate().filter(|(other, _)| *other != index);
            others.any(|(_, other)| other.steps.iter().any(|step| step.output.contains_key(name)))
        };
        used.iter().any(|name| !kept_here(name) && kept_elsewhere(name))
    })
}

/// Notes once, and not for each request, what is left out of the scripts of a folder.
fn leave_scripts(draft: &mut Draft, scripts: &[(&str, &Json)]) {
    for (of, events) in scripts {
        for event in events.as_array().into_iter().flatten() {
            let left = Script::read(event).left_out;
            draft.left_out.extend(left.into_iter().map(|line| ((*of).to_owned(), line)));
        }
    }
}

/// Text of a collection with its `{{variables}}` marked.
fn marked(text: &str) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let Some(length) = rest[start..].find("}}") else { break };
        let name = rest[start + 2..start + length].trim();
        made.push_str(&rest[..start]);
        let dynamic = DYNAMIC.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned());
        // Of the others of its kind there is a word at least.
        let dynamic = dynamic.or_else(|| name.starts_with("$random").then(|| "fake.word()".to_owned()));
        if name.is_empty() {
            made.push_str(&rest[start..start + length + 2]);
        } else {
            made.push_str(&reference(&dynamic.unwrap_or_else(|| variable(name))));
        }
        rest = &rest[start + length + 2..];
    }
    made + rest
}

/// A value of a collection, marked.
fn value(value: &Json) -> String {
    marked(&scalar(value))
}

fn described(description: &Json) -> Option<String> {
    description.as_str().or(description["content"].as_str()).map(str::to_owned)
}

/// Takes over what a script does for a request.
fn apply(step: &mut StepDraft, script: Script) {
    for assertion in script.assert {
        if !step.assert.contains(&assertion) {
            step.assert.push(assertion);
        }
    }
    step.output.extend(script.output);
}
