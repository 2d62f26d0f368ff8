//! The contract of `EnvironmentRepository`.

use chrono::TimeDelta;
use indexmap::IndexMap;
use serde_json::json;
use testmesh_shared::clock::SystemClock;
use testmesh_shared::ids::{EnvironmentId, WriteId};
use testmesh_shared::page::PageRequest;
use testmesh_storage::{Environment, EnvironmentEdit, NewEnvironment, StorageError};

use crate::stores::{Stores, contract};

contract! {
    variables_keep_their_order_and_types,
    name_is_unique,
    creating_twice_with_one_id_creates_once,
    update_replaces_and_counts,
    updating_twice_with_one_write_counts_once,
    update_with_a_stale_revision_changes_nothing,
    rename_to_a_taken_name_changes_nothing,
    deleted_environment_is_gone,
    pages_cover_the_list_newest_first,
}

fn new_environment(name: &str) -> NewEnvironment {
    NewEnvironment { name: name.to_owned(), description: None, variables: IndexMap::new() }
}

fn edit(environment: NewEnvironment, expected: Option<u32>) -> EnvironmentEdit {
    EnvironmentEdit { write: WriteId::generate(&SystemClock), environment, expected }
}

async fn create(stores: &Stores, name: &str) -> Environment {
    stores.environments.create(EnvironmentId::generate(&SystemClock), new_environment(name)).await.unwrap()
}

async fn variables_keep_their_order_and_types(stores: Stores) {
    let variables: IndexMap<String, serde_json::Value> = [
        ("z", json!("text")),
        ("a", json!(12_345_678_901_234_567_890_u64)),
        ("m", json!({"y": [1, 2.5, null], "b": true})),
        ("n", json!("a\u{0}b")),
        ("f", json!([0.1, 0.1 + 0.2, 1.797_693_134_862_315_7e308, 5e-324, -0.0, 1e23])),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let new = NewEnvironment {
        name: "staging".to_owned(),
        description: Some("the second system".to_owned()),
        variables: variables.clone(),
    };
    let created = stores.environments.create(EnvironmentId::generate(&SystemClock), new).await.unwrap();
    assert_eq!((created.revision, &created.variables), (1, &variables));
    let found = stores.environments.find("staging").await.unwrap().unwrap();
    assert_eq!(found, created);
    assert!(found.variables.keys().eq(variables.keys()), "{:?}", found.variables);
    assert_eq!(stores.environments.find("Staging").await.unwrap(), None);
}

async fn name_is_unique(stores: Stores) {
    create(&stores, "staging").await;
    let error = stores
        .environments
        .create(EnvironmentId::generate(&SystemClock), new_environment("staging"))
        .await
        .unwrap_err();
    assert!(matches!(&error, StorageError::NameTaken { name } if name == "staging"), "{error:?}");
}

async fn creating_twice_with_one_id_creates_once(stores: Stores) {
    let id = EnvironmentId::generate(&SystemClock);
    let first = stores.environments.create(id, new_environment("staging")).await.unwrap();
    assert_eq!(first.id, id);
    stores.clock.advance(TimeDelta::seconds(5));
    let second = stores.environments.create(id, new_environment("staging")).await.unwrap();
    assert_eq!(first, second);
    let page = stores.environments.list(PageRequest { limit: 10, after: None }).await.unwrap();
    assert_eq!(page.items, [first]);
}

async fn updating_twice_with_one_write_counts_once(stores: Stores) {
    create(&stores, "staging").await;
    for (name, new_name, expected) in [("staging", "staging", None), ("staging", "test", Some(2)), ("test", "x", None)]
    {
        let change = edit(new_environment(new_name), expected);
        let first = stores.environments.update(name, change.clone()).await.unwrap().unwrap();
        stores.clock.advance(TimeDelta::seconds(5));
        let second = stores.environments.update(name, change).await.unwrap().unwrap();
        assert_eq!(first, second, "{name} to {new_name}");
        assert_eq!(stores.environments.find(new_name).await.unwrap(), Some(second));
    }
}

async fn update_replaces_and_counts(stores: Stores) {
    let first = create(&stores, "staging").await;
    stores.clock.advance(TimeDelta::seconds(5));
    let mut change = new_environment("test");
    change.variables.insert("host".to_owned(), json!("localhost"));
    let second = stores.environments.update("staging", edit(change, Some(1))).await.unwrap().unwrap();
    assert_eq!((second.id, second.revision, second.name.as_str()), (first.id, 2, "test"));
    assert_eq!(second.created_at, first.created_at);
    assert_eq!(second.updated_at, first.updated_at + TimeDelta::seconds(5));
    assert_eq!(stores.environments.find("staging").await.unwrap(), None);
    assert_eq!(stores.environments.find("test").await.unwrap(), Some(second));
}

async fn update_with_a_stale_revision_changes_nothing(stores: Stores) {
    let environment = create(&stores, "staging").await;
    let error = stores.environments.update("staging", edit(new_environment("other"), Some(3))).await.unwrap_err();
    assert!(matches!(error, StorageError::VersionMismatch { expected: 3, found: 1 }), "{error:?}");
    let error = stores.environments.delete("staging", Some(3)).await.unwrap_err();
    assert!(matches!(error, StorageError::VersionMismatch { expected: 3, found: 1 }), "{error:?}");
    assert_eq!(stores.environments.find("staging").await.unwrap(), Some(environment));
    assert_eq!(stores.environments.update("nobody", edit(new_environment("x"), Some(3))).await.unwrap(), None);
}

async fn rename_to_a_taken_name_changes_nothing(stores: Stores) {
    create(&stores, "staging").await;
    let other = create(&stores, "production").await;
    let error = stores.environments.update("production", edit(new_environment("staging"), None)).await.unwrap_err();
    assert!(matches!(&error, StorageError::NameTaken { name } if name == "staging"), "{error:?}");
    assert_eq!(stores.environments.find("production").await.unwrap(), Some(other));
}

async fn deleted_environment_is_gone(stores: Stores) {
    create(&stores, "staging").await;
    assert!(stores.environments.delete("staging", Some(1)).await.unwrap());
    assert!(!stores.environments.delete("staging", None).await.unwrap());
    assert_eq!(stores.environments.find("staging").await.unwrap(), None);
    create(&stores, "staging").await;
}

async fn pages_cover_the_list_newest_first(stores: Stores) {
    for number in 0..5 {
        create(&stores, &format!("environment {number}")).await;
        stores.clock.advance(TimeDelta::seconds(1));
    }
    let first = stores.environments.list(PageRequest { limit: 3, after: None }).await.unwrap();
    let second = stores.environments.list(PageRequest { limit: 3, after: first.next }).await.unwrap();
    assert_eq!(second.next, None);
    let names: Vec<_> = first.items.iter().chain(&second.items).map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["environment 4", "environment 3", "environment 2", "environment 1", "environment 0"]);
}
