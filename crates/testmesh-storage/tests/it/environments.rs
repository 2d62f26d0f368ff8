//! The contract of `EnvironmentRepository`.

use chrono::TimeDelta;
use indexmap::IndexMap;
use serde_json::json;
use testmesh_shared::page::PageRequest;
use testmesh_storage::{Environment, NewEnvironment, StorageError};

use crate::stores::{Stores, contract};

contract! {
    variables_keep_their_order_and_types,
    name_is_unique,
    update_replaces_and_counts,
    update_with_a_stale_revision_changes_nothing,
    rename_to_a_taken_name_changes_nothing,
    deleted_environment_is_gone,
    pages_cover_the_list_newest_first,
}

fn new_environment(name: &str) -> NewEnvironment {
    NewEnvironment { name: name.to_owned(), description: None, variables: IndexMap::new() }
}

async fn create(stores: &Stores, name: &str) -> Environment {
    stores.environments.create(new_environment(name)).await.unwrap()
}

async fn variables_keep_their_order_and_types(stores: Stores) {
    let variables: IndexMap<String, serde_json::Value> = [
        ("z", json!("text")),
        ("a", json!(12_345_678_901_234_567_890_u64)),
        ("m", json!({"y": [1, 2.5, null], "b": true})),
        ("n", json!("a\u{0}b")),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let new = NewEnvironment {
        name: "staging".to_owned(),
        description: Some("the second system".to_owned()),
        variables: variables.clone(),
    };
    let created = stores.environments.create(new).await.unwrap();
    assert_eq!(created.revision, 1);
    let found = stores.environments.find("staging").await.unwrap().unwrap();
    assert_eq!(found, created);
    assert!(found.variables.keys().eq(variables.keys()), "{:?}", found.variables);
    assert_eq!(stores.environments.find("Staging").await.unwrap(), None);
}

async fn name_is_unique(stores: Stores) {
    create(&stores, "staging").await;
    let error = stores.environments.create(new_environment("staging")).await.unwrap_err();
    assert!(matches!(&error, StorageError::NameTaken { name } if name == "staging"), "{error:?}");
}

async fn update_replaces_and_counts(stores: Stores) {
    let first = create(&stores, "staging").await;
    stores.clock.advance(TimeDelta::seconds(5));
    let mut change = new_environment("test");
    change.variables.insert("host".to_owned(), json!("localhost"));
    let second = stores.environments.update("staging", change, Some(1)).await.unwrap().unwrap();
    assert_eq!((second.id, second.revision, second.name.as_str()), (first.id, 2, "test"));
    assert_eq!(second.created_at, first.created_at);
    assert_eq!(second.updated_at, first.updated_at + TimeDelta::seconds(5));
    assert_eq!(stores.environments.find("staging").await.unwrap(), None);
    assert_eq!(stores.environments.find("test").await.unwrap(), Some(second));
}

async fn update_with_a_stale_revision_changes_nothing(stores: Stores) {
    let environment = create(&stores, "staging").await;
    let error = stores.environments.update("staging", new_environment("other"), Some(3)).await.unwrap_err();
    assert!(matches!(error, StorageError::VersionMismatch { expected: 3, found: 1 }), "{error:?}");
    let error = stores.environments.delete("staging", Some(3)).await.unwrap_err();
    assert!(matches!(error, StorageError::VersionMismatch { expected: 3, found: 1 }), "{error:?}");
    assert_eq!(stores.environments.find("staging").await.unwrap(), Some(environment));
    assert_eq!(stores.environments.update("nobody", new_environment("x"), Some(3)).await.unwrap(), None);
}

async fn rename_to_a_taken_name_changes_nothing(stores: Stores) {
    create(&stores, "staging").await;
    let other = create(&stores, "production").await;
    let error = stores.environments.update("production", new_environment("staging"), None).await.unwrap_err();
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
