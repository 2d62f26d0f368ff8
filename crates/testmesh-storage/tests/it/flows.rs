//! The contract of `FlowRepository`.

use chrono::TimeDelta;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::{FlowId, WriteId};
use testmesh_shared::page::PageRequest;
use testmesh_storage::{FlowEdit, FlowFilter, FlowHeader, NewFlow, StorageError, StoredFlow};

use crate::stores::{Stores, contract};

contract! {
    stored_text_comes_back_byte_for_byte,
    name_is_unique_among_living_flows,
    creating_twice_with_one_id_creates_once,
    every_update_is_a_version,
    updating_twice_with_one_write_is_one_version,
    concurrent_repetitions_of_one_write_are_one_version,
    update_with_a_stale_version_changes_nothing,
    update_to_a_taken_name_changes_nothing,
    deleted_flow_is_gone_and_its_name_free,
    pages_cover_the_list_newest_first,
    filters_narrow_the_list,
    concurrent_updates_of_one_version_have_one_winner,
    concurrent_updates_of_any_version_all_count,
    concurrent_creations_of_one_name_have_one_winner,
}

fn header(name: &str) -> FlowHeader {
    FlowHeader { name: name.to_owned(), description: None, suite: None, tags: Vec::new() }
}

fn new_flow(header: FlowHeader) -> NewFlow {
    let yaml = format!("name: {}", header.name);
    NewFlow { id: FlowId::generate(&SystemClock), header, yaml }
}

fn edit(header: FlowHeader, yaml: String, expected: Option<u32>) -> FlowEdit {
    FlowEdit { write: WriteId::generate(&SystemClock), header, yaml, expected }
}

async fn create(stores: &Stores, name: &str) -> StoredFlow {
    stores.flows.create(new_flow(header(name))).await.unwrap()
}

async fn listed(stores: &Stores, filter: FlowFilter) -> Vec<String> {
    let page = stores.flows.list(&filter, PageRequest { limit: 200, after: None }).await.unwrap();
    assert_eq!(page.next, None);
    page.items.into_iter().map(|flow| flow.header.name).collect()
}

async fn stored_text_comes_back_byte_for_byte(stores: Stores) {
    let header = FlowHeader {
        name: "Überweisung \u{1f4b6}".to_owned(),
        description: Some("two\nlines".to_owned()),
        suite: Some("bank".to_owned()),
        tags: vec!["z".to_owned(), "a".to_owned()],
    };
    let yaml = "# first\r\nname: 'Überweisung'\t\u{1}\n\n\n".to_owned();
    let flow = NewFlow { id: FlowId::generate(&SystemClock), header: header.clone(), yaml: yaml.clone() };
    let id = flow.id;
    let created = stores.flows.create(flow).await.unwrap();
    assert_eq!((created.summary.version, &created.yaml, &created.summary.header), (1, &yaml, &header));
    assert_eq!(stores.flows.find(id).await.unwrap().as_ref(), Some(&created));
    assert_eq!(stores.flows.find_by_name(&header.name).await.unwrap().as_ref(), Some(&created));
    assert_eq!(stores.flows.find(FlowId::generate(&SystemClock)).await.unwrap(), None);
    assert_eq!(stores.flows.find_by_name("überweisung").await.unwrap(), None);
}

async fn name_is_unique_among_living_flows(stores: Stores) {
    create(&stores, "login").await;
    let error = stores.flows.create(new_flow(header("login"))).await.unwrap_err();
    assert!(matches!(&error, StorageError::NameTaken { name } if name == "login"), "{error:?}");
    create(&stores, "Login").await;
}

async fn creating_twice_with_one_id_creates_once(stores: Stores) {
    let flow = new_flow(header("login"));
    let first = stores.flows.create(flow.clone()).await.unwrap();
    stores.clock.advance(TimeDelta::seconds(5));
    let second = stores.flows.create(flow).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(listed(&stores, FlowFilter::default()).await, ["login"]);
}

async fn every_update_is_a_version(stores: Stores) {
    let first = create(&stores, "login").await;
    let id = first.summary.id;
    stores.clock.advance(TimeDelta::seconds(5));
    let second = stores.flows.update(id, edit(header("sign in"), "two".to_owned(), Some(1))).await.unwrap().unwrap();
    assert_eq!((second.summary.version, second.yaml.as_str()), (2, "two"));
    assert_eq!(second.summary.created_at, first.summary.created_at);
    assert_eq!(second.summary.updated_at, first.summary.updated_at + TimeDelta::seconds(5));
    assert_eq!(stores.flows.find(id).await.unwrap(), Some(second));
    stores.flows.update(id, edit(header("sign in"), "three".to_owned(), None)).await.unwrap().unwrap();
    let versions = stores.flows.versions(id).await.unwrap().unwrap();
    let texts: Vec<_> = versions.iter().map(|version| (version.version, version.yaml.as_str())).collect();
    assert_eq!(texts, [(3, "three"), (2, "two"), (1, "name: login")]);
    assert_eq!(stores.flows.version(id, 2).await.unwrap().as_ref(), Some(&versions[1]));
    assert_eq!(stores.flows.version(id, 4).await.unwrap(), None);
    assert_eq!(stores.flows.find_by_name("login").await.unwrap(), None);
}

async fn updating_twice_with_one_write_is_one_version(stores: Stores) {
    let id = create(&stores, "login").await.summary.id;
    for (version, expected) in [(2, None), (3, Some(2))] {
        let change = edit(header("sign in"), format!("text {version}"), expected);
        let first = stores.flows.update(id, change.clone()).await.unwrap().unwrap();
        assert_eq!(first.summary.version, version);
        stores.clock.advance(TimeDelta::seconds(5));
        let second = stores.flows.update(id, change.clone()).await.unwrap().unwrap();
        assert_eq!(first, second);
    }
    // A repetition that comes after somebody else's version does not undo that.
    let late = edit(header("sign in"), "late".to_owned(), None);
    let first = stores.flows.update(id, late.clone()).await.unwrap();
    let newest = stores.flows.update(id, edit(header("login"), "newest".to_owned(), None)).await.unwrap();
    assert_eq!(stores.flows.update(id, late).await.unwrap(), first);
    assert_eq!(stores.flows.find(id).await.unwrap(), newest);
    assert_eq!(stores.flows.versions(id).await.unwrap().unwrap().len(), 5);
}

async fn concurrent_repetitions_of_one_write_are_one_version(stores: Stores) {
    let id = create(&stores, "login").await.summary.id;
    let change = edit(header("login"), "two".to_owned(), None);
    let results = futures::future::join_all((0..8).map(|_| stores.flows.update(id, change.clone()))).await;
    for result in results {
        assert_eq!(result.unwrap().unwrap().summary.version, 2);
    }
    assert_eq!(stores.flows.versions(id).await.unwrap().unwrap().len(), 2);
}

async fn update_with_a_stale_version_changes_nothing(stores: Stores) {
    let flow = create(&stores, "login").await;
    let id = flow.summary.id;
    let error = stores.flows.update(id, edit(header("other"), "two".to_owned(), Some(7))).await.unwrap_err();
    assert!(matches!(error, StorageError::VersionMismatch { expected: 7, found: 1 }), "{error:?}");
    let error = stores.flows.delete(id, Some(7)).await.unwrap_err();
    assert!(matches!(error, StorageError::VersionMismatch { expected: 7, found: 1 }), "{error:?}");
    assert_eq!(stores.flows.find(id).await.unwrap(), Some(flow));
    let nobody = FlowId::generate(&SystemClock);
    assert_eq!(stores.flows.update(nobody, edit(header("other"), "two".to_owned(), Some(7))).await.unwrap(), None);
    assert!(!stores.flows.delete(nobody, Some(7)).await.unwrap());
}

async fn update_to_a_taken_name_changes_nothing(stores: Stores) {
    create(&stores, "login").await;
    let logout = create(&stores, "logout").await;
    let id = logout.summary.id;
    let error = stores.flows.update(id, edit(header("login"), "two".to_owned(), None)).await.unwrap_err();
    assert!(matches!(&error, StorageError::NameTaken { name } if name == "login"), "{error:?}");
    assert_eq!(stores.flows.versions(id).await.unwrap().unwrap().len(), 1);
    assert_eq!(stores.flows.find(id).await.unwrap(), Some(logout));
}

async fn deleted_flow_is_gone_and_its_name_free(stores: Stores) {
    let id = create(&stores, "login").await.summary.id;
    assert!(stores.flows.delete(id, Some(1)).await.unwrap());
    assert!(!stores.flows.delete(id, None).await.unwrap());
    assert_eq!(stores.flows.find(id).await.unwrap(), None);
    assert_eq!(stores.flows.find_by_name("login").await.unwrap(), None);
    assert_eq!(stores.flows.versions(id).await.unwrap(), None);
    assert_eq!(stores.flows.version(id, 1).await.unwrap(), None);
    assert_eq!(stores.flows.update(id, edit(header("login"), "two".to_owned(), None)).await.unwrap(), None);
    assert!(listed(&stores, FlowFilter::default()).await.is_empty());
    create(&stores, "login").await;
}

async fn pages_cover_the_list_newest_first(stores: Stores) {
    let mut expect = Vec::new();
    for number in 0..7 {
        expect.push(create(&stores, &format!("flow {number}")).await.summary);
        // Pairs share a creation time, so that the id has to break the tie.
        stores.clock.advance(TimeDelta::seconds(number % 2));
    }
    expect.sort_by_key(|flow| std::cmp::Reverse((flow.created_at, flow.id)));
    for limit in [1, 2, 3, 7, 8] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = stores.flows.list(&FlowFilter::default(), PageRequest { limit, after }).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            seen.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expect, "limit {limit}");
    }
}

async fn filters_narrow_the_list(stores: Stores) {
    let flows = [
        ("login", "Signs in 100 % of users", Some("auth"), vec!["smoke", "fast"]),
        ("ÜBERSICHT", "", Some("ui"), vec!["smoke"]),
        ("cart", "adds_one item", None, vec!["smoke\"quoted", "fast"]),
    ];
    for (name, description, suite, tags) in flows {
        let header = FlowHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            suite: suite.map(str::to_owned),
            tags: tags.into_iter().map(str::to_owned).collect(),
        };
        stores.flows.create(new_flow(header)).await.unwrap();
        stores.clock.advance(TimeDelta::seconds(1));
    }
    let check = async |search: Option<&str>, suite: Option<&str>, tags: &[&str], expect: &[&str]| {
        let filter = FlowFilter {
            search: search.map(str::to_owned),
            suite: suite.map(str::to_owned),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        };
        assert_eq!(listed(&stores, filter.clone()).await, expect, "{filter:?}");
    };
    check(None, None, &[], &["cart", "ÜBERSICHT", "login"]).await;
    check(Some("LOG"), None, &[], &["login"]).await;
    check(Some("übersicht"), None, &[], &["ÜBERSICHT"]).await;
    check(Some("0 %"), None, &[], &["login"]).await;
    check(Some("s_o"), None, &[], &["cart"]).await;
    check(Some("%"), None, &[], &["login"]).await;
    check(Some("nothing"), None, &[], &[]).await;
    check(None, Some("ui"), &[], &["ÜBERSICHT"]).await;
    check(None, Some("UI"), &[], &[]).await;
    check(None, None, &["smoke"], &["ÜBERSICHT", "login"]).await;
    check(None, None, &["fast", "smoke"], &["login"]).await;
    check(None, None, &["smoke\"quoted"], &["cart"]).await;
    check(Some("in"), Some("auth"), &["fast"], &["login"]).await;
}

async fn concurrent_updates_of_one_version_have_one_winner(stores: Stores) {
    let id = create(&stores, "login").await.summary.id;
    let updates =
        (0..8).map(|number| stores.flows.update(id, edit(header("login"), format!("text {number}"), Some(1))));
    let mut tasks = Vec::new();
    for update in updates {
        tasks.push(update);
    }
    let results = futures::future::join_all(tasks).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(stores.flows.find(id).await.unwrap().unwrap().summary.version, 2);
}

async fn concurrent_updates_of_any_version_all_count(stores: Stores) {
    let id = create(&stores, "login").await.summary.id;
    let updates = (0..8).map(|number| stores.flows.update(id, edit(header("login"), format!("text {number}"), None)));
    for result in futures::future::join_all(updates).await {
        result.unwrap().unwrap();
    }
    let versions = stores.flows.versions(id).await.unwrap().unwrap();
    assert!(versions.iter().map(|version| version.version).eq((1..=9).rev()), "{versions:?}");
}

async fn concurrent_creations_of_one_name_have_one_winner(stores: Stores) {
    let created = (0..8).map(|_| stores.flows.create(new_flow(header("login"))));
    let results = futures::future::join_all(created).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(&error, StorageError::NameTaken { name } if name == "login"), "{error:?}");
    }
}
