//! Flows and their versions: kept as they were written, changed by one at a time, found again.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Outcome;
use super::site::{Body, Site, holds, items, same, text};

fn hello(name: &str, message: &str) -> String {
    format!("name: {name}\nsteps:\n  - id: greet\n    action: log\n    config:\n      message: {message}\n")
}

pub(super) async fn a_flow_lives_under_its_id(site: Site) -> Outcome {
    let name = Site::name("flow");
    let (first, second) = (hello(&name, "one"), hello(&name, "two"));
    let created = site.send("POST", "/api/v1/flows", &[], Body::Yaml(&first)).await?;
    let flow = created.expect(201)?;
    let path = created.header("location").to_owned();
    same("the first version", created.header("etag"), "\"1\"")?;
    same("what is found", &site.get(&path).await?.expect(200)?, &flow)?;
    let updated = site.send("PUT", &path, &[("if-match", "\"1\"")], Body::Yaml(&second)).await?;
    same("the second version", &updated.expect(200)?["version"], &json!(2))?;
    let versions = site.get(&format!("{path}/versions")).await?.expect(200)?;
    same("versions", &items(&versions, "items")?.len(), &2)?;
    let old = site.get(&format!("{path}/versions/1")).await?.expect(200)?;
    same("the text of the first version", &old["yaml"], first.as_str())?;
    let restored = site.post(&format!("{path}/versions/1/restore"), &json!({})).await?.expect(200)?;
    same("the restored version", &(&restored["version"], &restored["yaml"]), &(&json!(3), &json!(first)))?;
    site.delete(&path).await?.expect(204)?;
    site.get(&path).await?.problem(404, "flow_not_found")?;
    site.delete(&path).await?.problem(404, "flow_not_found")?;
    Ok(())
}

pub(super) async fn a_name_is_taken_once(site: Site) -> Outcome {
    let yaml = hello(&Site::name("flow"), "one");
    site.stored(&yaml).await?;
    site.send("POST", "/api/v1/flows", &[], Body::Yaml(&yaml)).await?.problem(409, "name_taken")?;
    Ok(())
}

pub(super) async fn mistakes_are_named_with_their_places(site: Site) -> Outcome {
    let wrong = "name: wrong\nsteps:\n  - action: nothing_like_it\n";
    let problem = site.send("POST", "/api/v1/flows", &[], Body::Yaml(wrong)).await?.problem(422, "invalid_flow")?;
    holds(&format!("the line of the mistake: {problem}"), problem.to_string().contains("\"line\":3"))?;
    let validated = site.send("POST", "/api/v1/flows/validate", &[], Body::Yaml(wrong)).await?.expect(200)?;
    same("validation", &validated["valid"], &json!(false))
}

pub(super) async fn a_long_text_comes_back_as_it_was(site: Site) -> Outcome {
    let mut yaml = format!("# ü 漢字 \u{1f600} \"quoted\" \\ backslash\nname: {}\nsteps:\n", Site::name("long"));
    for step in 0..900 {
        let _ =
            write!(yaml, "  - id: step_{step}\n    action: log\n    config: {{message: \"{}\"}}\n", "x".repeat(400));
    }
    let id = site.stored(&yaml).await?;
    let found = site.get(&format!("/api/v1/flows/{id}")).await?.expect(200)?;
    holds("the text is the same", found["yaml"] == yaml.as_str())?;
    let body = json!({ "yaml": yaml, "dry_run": true });
    let run = site.post("/api/v1/executions?wait=30s", &body).await?.expect(200)?;
    same("steps of the run", &items(&run, "steps")?.len(), &900)
}

pub(super) async fn flows_are_listed_in_pages(site: Site) -> Outcome {
    let tag = Site::name("tag");
    let mut made = Vec::new();
    for number in 0..5 {
        let name = Site::name("listed");
        let yaml =
            format!("name: {name}\ntags: [{tag}]\nsteps:\n  - action: log\n    config: {{message: '{number}'}}\n");
        made.push(site.stored(&yaml).await?);
    }
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let more = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = site.get(&format!("/api/v1/flows?tag={tag}&limit=2{more}")).await?.expect(200)?;
        for item in items(&page, "items")? {
            found.push(text(item, "id")?);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    found.reverse();
    same("the listed flows", &found, &made)
}

pub(super) async fn two_writers_do_not_overwrite_each_other(site: Site) -> Outcome {
    let name = Site::name("contended");
    let id = site.stored(&hello(&name, "zero")).await?;
    let path = format!("/api/v1/flows/{id}");
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (site, path, yaml) = (site.clone(), path.clone(), hello(&name, &format!("writer {writer}")));
        writers.spawn(async move { site.send("PUT", &path, &[("if-match", "\"1\"")], Body::Yaml(&yaml)).await });
    }
    let mut statuses = Vec::new();
    while let Some(answer) = writers.join_next().await {
        statuses.push(answer.map_err(|error| error.to_string())??.status);
    }
    statuses.sort_unstable();
    let expected: Vec<u16> = std::iter::once(200).chain(std::iter::repeat_n(412, 7)).collect();
    same("one writer won", &statuses, &expected)?;
    let version: Value = site.get(&path).await?.expect(200)?["version"].clone();
    same("the version", &version, &json!(2))
}
