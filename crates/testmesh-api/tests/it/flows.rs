//! Flows over HTTP: stored byte for byte, versioned, listed, checked.

use reqwest::Method;
use serde_json::json;

use crate::app::{Answer, HELLO, TestApp};

#[tokio::test]
async fn a_flow_is_kept_byte_for_byte() {
    let app = TestApp::start().await;
    let text = "# a comment\r\nname:   hello   \n\n\nsteps:\n- {action: log, config: {message: 'grüße 🙂'}}\n\n# end";
    let created = app.send_yaml(Method::POST, "/api/v1/flows", text).await;
    let flow = created.expect(201);
    let path = created.header("location").to_owned();
    assert_eq!(path, format!("/api/v1/flows/{}", flow["id"].as_str().unwrap()));
    assert_eq!(created.header("etag"), "\"1\"");
    assert_eq!((&flow["name"], &flow["version"], &flow["yaml"]), (&json!("hello"), &json!(1), &json!(text)));

    let found = app.get(&path).await.expect(200);
    assert_eq!(found, flow);
    let plain = Answer::of(app.request(Method::GET, &path).header("accept", "application/yaml")).await;
    assert_eq!(plain.text, text);
    assert_eq!((plain.header("content-type"), plain.header("etag")), ("application/yaml", "\"1\""));
    let refused = Answer::of(app.request(Method::GET, &path).header("accept", "text/html")).await;
    refused.problem(406, "not_acceptable");
}

#[tokio::test]
async fn a_flow_comes_as_json_too() {
    let app = TestApp::start().await;
    let flow = app.post("/api/v1/flows", &json!({ "yaml": HELLO })).await.expect(201);
    assert_eq!((&flow["yaml"], &flow["tags"]), (&json!(HELLO), &json!(["smoke"])));
}

#[tokio::test]
async fn every_mistake_is_reported_in_one_go() {
    let app = TestApp::start().await;
    let text =
        "name: broken\nsteps:\n  - action: lgo\n  - action: delay\n    config: {duration: 1s}\n    when: '1 +'\n";
    let problem = app.send_yaml(Method::POST, "/api/v1/flows", text).await.problem(422, "invalid_flow");
    let diagnostics = problem["diagnostics"].as_array().unwrap();
    let lines: Vec<_> =
        diagnostics.iter().filter(|finding| finding["severity"] == "error").map(|f| &f["line"]).collect();
    assert_eq!(lines, [&json!(3), &json!(6)], "{problem}");

    let validation = app.send_yaml(Method::POST, "/api/v1/flows/validate", text).await.expect(200);
    assert_eq!(validation["valid"], false);
    assert_eq!(validation["diagnostics"], problem["diagnostics"]);
    assert_eq!(app.get("/api/v1/flows").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn exactly_one_flow_is_taken() {
    let app = TestApp::start().await;
    for text in
        ["", "# nothing\n", &format!("{HELLO}---\nname: other\nsteps:\n  - action: log\n    config: {{message: x}}\n")]
    {
        let problem = app.send_yaml(Method::POST, "/api/v1/flows", text).await.problem(422, "invalid_flow");
        assert_ne!(problem["diagnostics"], json!([]), "{text:?}");
        let validation = app.send_yaml(Method::POST, "/api/v1/flows/validate", text).await.expect(200);
        assert_eq!(validation["valid"], false, "{text:?}");
    }
    let valid = app.send_yaml(Method::POST, "/api/v1/flows/validate", HELLO).await.expect(200);
    assert_eq!(valid["valid"], true);
}

#[tokio::test]
async fn a_name_belongs_to_one_flow() {
    let app = TestApp::start().await;
    let id = app.stored(HELLO).await;
    app.send_yaml(Method::POST, "/api/v1/flows", HELLO).await.problem(409, "name_taken");
    let deleted = app.delete(&format!("/api/v1/flows/{id}")).await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
    app.get(&format!("/api/v1/flows/{id}")).await.problem(404, "flow_not_found");
    app.delete(&format!("/api/v1/flows/{id}")).await.problem(404, "flow_not_found");
    app.stored(HELLO).await;
}

#[tokio::test]
async fn edits_make_versions_that_can_be_restored() {
    let app = TestApp::start().await;
    let path = format!("/api/v1/flows/{}", app.stored(HELLO).await);
    let second = HELLO.replace("message: hello", "message: goodbye");
    let updated = app.send_yaml(Method::PUT, &path, &second).await;
    assert_eq!((updated.expect(200)["version"].clone(), updated.header("etag")), (json!(2), "\"2\""));

    let versions = app.get(&format!("{path}/versions")).await.expect(200);
    let shown: Vec<_> = versions["items"].as_array().unwrap().iter().map(|v| (&v["version"], &v["yaml"])).collect();
    assert_eq!(shown, [(&json!(2), &json!(second)), (&json!(1), &json!(HELLO))]);
    let first = app.get(&format!("{path}/versions/1")).await.expect(200);
    assert_eq!(first["yaml"], HELLO);
    app.get(&format!("{path}/versions/3")).await.problem(404, "version_not_found");

    let restored = app.post(&format!("{path}/versions/1/restore"), &json!({})).await.expect(200);
    assert_eq!((&restored["version"], &restored["yaml"]), (&json!(3), &json!(HELLO)));
    app.post(&format!("{path}/versions/9/restore"), &json!({})).await.problem(404, "version_not_found");
}

#[tokio::test]
async fn an_edit_on_an_old_version_is_refused() {
    let app = TestApp::start().await;
    let path = format!("/api/v1/flows/{}", app.stored(HELLO).await);
    let put = |tag: &'static str| {
        let request = app.request(Method::PUT, &path).header("content-type", "application/yaml");
        Answer::of(request.header("if-match", tag).body(HELLO))
    };
    put("\"1\"").await.expect(200);
    put("\"1\"").await.problem(412, "precondition_failed");
    put("W/\"2\"").await.problem(412, "precondition_failed");
    put("\"7\", \"8\"").await.problem(412, "precondition_failed");
    put("\"7\", \"2\"").await.expect(200);
    put("*").await.expect(200);
    put("2").await.problem(422, "invalid_request");
    let delete = |tag: &'static str| Answer::of(app.request(Method::DELETE, &path).header("if-match", tag));
    delete("\"1\"").await.problem(412, "precondition_failed");
    assert_eq!(delete("\"4\"").await.status.as_u16(), 204);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let app = TestApp::start().await;
    for n in 1..=5 {
        let tags = if n % 2 == 0 { "[even, all]" } else { "[odd, all]" };
        let text = HELLO.replace("name: hello", &format!("name: Flow {n}\nsuite: s{n}")).replace("[smoke]", tags);
        app.stored(&text).await;
    }
    let names = async |query: &str| {
        let page = app.get(&format!("/api/v1/flows{query}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item.get("yaml").is_none()));
        let names: Vec<_> = items.iter().map(|item| item["name"].as_str().unwrap().replace("Flow ", "")).collect();
        (names.join(""), page["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(names("").await, ("54321".to_owned(), None));
    assert_eq!(names("?tag=all&tag=odd").await.0, "531");
    assert_eq!(names("?tag=odd&tag=even").await.0, "");
    assert_eq!(names("?suite=s4").await.0, "4");
    assert_eq!(names("?search=fLOW%203").await.0, "3");
    assert_eq!(names("?search=%25").await.0, "", "`%` is a character like any other");

    let (first, cursor) = names("?limit=2").await;
    let (second, next) = names(&format!("?limit=2&cursor={}", cursor.unwrap())).await;
    let (third, end) = names(&format!("?limit=2&cursor={}", next.unwrap())).await;
    assert_eq!((first.as_str(), second.as_str(), third.as_str(), end), ("54", "32", "1", None));
}
