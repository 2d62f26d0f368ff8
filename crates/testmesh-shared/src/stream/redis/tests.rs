//! What needs a look inside: consumers that are gone.

use super::*;

#[tokio::test]
async fn idle_consumers_without_pending_entries_are_removed() {
    #[allow(clippy::disallowed_methods, reason = "tests are told by the environment where their servers are")]
    let Ok(url) = std::env::var("TESTMESH_TEST_REDIS") else { return };
    let prefix = format!("test-{}", crate::ids::new_uuid(&crate::clock::SystemClock).simple());
    let stream = |consumer: &str| {
        let (url, prefix, consumer) = (url.clone(), prefix.clone(), consumer.to_owned());
        RedisStream::new(&RedisTarget { url, prefix, consumer, ca: None, identity: None }).unwrap()
    };
    let (gone, busy, living) = (stream("gone"), stream("busy"), stream("living"));
    let wait = Duration::from_secs(2);
    gone.publish(Topic::RunFlow, &["1".to_owned()]).await.unwrap();
    let found = gone.read(Topic::RunFlow, 1, wait).await.unwrap();
    gone.acknowledge(Topic::RunFlow, &[found[0].id.clone()]).await.unwrap();
    busy.publish(Topic::RunFlow, &["2".to_owned()]).await.unwrap();
    assert_eq!(busy.read(Topic::RunFlow, 1, wait).await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_millis(5)).await;
    living.inner.upkeep[0].lock().gone_after = Duration::from_millis(1);
    assert_eq!(living.read(Topic::RunFlow, 1, Duration::from_millis(50)).await.unwrap(), []);
    let mut connection = living.inner.link.connect().await.unwrap();
    let mut command = ::redis::cmd("XINFO");
    command.arg("CONSUMERS").arg(format!("{prefix}:run-flow")).arg("runners");
    let consumers: Vec<std::collections::HashMap<String, ::redis::Value>> =
        command.query_async(&mut connection).await.unwrap();
    let name = |consumer: &std::collections::HashMap<String, ::redis::Value>| {
        ::redis::from_redis_value::<String>(consumer["name"].clone()).unwrap()
    };
    let mut names: Vec<_> = consumers.iter().map(name).collect();
    // Redis 7.0 knows a consumer from its first entry on, and this one had none.
    names.retain(|name| name != "living");
    assert_eq!(names, ["busy"]);
}
