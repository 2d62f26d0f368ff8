//! The actions there are: one line each.

use crate::action::Action;

mod amqp;
mod amqp_consume;
mod amqp_declare;
mod amqp_delete;
mod amqp_get;
mod amqp_publish;
mod assert;
mod awaiting;
#[cfg(all(feature = "browser", unix))]
mod browser;
mod condition;
mod contract;
mod contract_generate;
mod contract_verify;
mod database_query;
mod db_poll;
mod delay;
mod exec;
mod for_each;
#[cfg(feature = "grpc")]
mod grpc;
mod http_request;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_consumer;
#[cfg(feature = "kafka")]
mod kafka_producer;
mod log;
mod mail;
mod mail_catcher;
mod mail_send;
mod mail_wait;
mod matching;
mod messages;
mod mock;
mod mock_server_configure;
mod mock_server_reset_state;
mod mock_server_start;
mod mock_server_stop;
mod mock_server_update;
mod mock_server_verify;
mod mqtt;
mod mqtt_publish;
mod mqtt_subscribe;
mod nats;
mod nats_publish;
mod nats_request;
mod nats_subscribe;
mod parallel;
mod peer;
#[cfg(feature = "plugins")]
mod plugin;
#[cfg(any(feature = "grpc", feature = "kafka"))]
mod protobuf;
mod redis;
mod run_flow;
mod sql;
mod tls;
mod transform;
mod wait_for;
mod wait_until;
mod websocket;

#[cfg(feature = "plugins")]
pub(crate) use http_request::chain;
pub(crate) use mock::Route;

/// Every action, in the order of the reference.
pub(crate) fn registry() -> &'static [&'static dyn Action] {
    &[
        &http_request::HttpRequest,
        &database_query::DatabaseQuery,
        &db_poll::DbPoll,
        &redis::Redis,
        #[cfg(feature = "kafka")]
        &kafka_producer::KafkaProducer,
        #[cfg(feature = "kafka")]
        &kafka_consumer::KafkaConsumer,
        #[cfg(feature = "grpc")]
        &grpc::Grpc,
        &amqp_publish::AmqpPublish,
        &amqp_consume::AmqpConsume,
        &amqp_get::AmqpGet,
        &amqp_declare::AmqpDeclare,
        &amqp_delete::AmqpDelete,
        &mqtt_publish::MqttPublish,
        &mqtt_subscribe::MqttSubscribe,
        &nats_publish::NatsPublish,
        &nats_subscribe::NatsSubscribe,
        &nats_request::NatsRequest,
        &mail_catcher::MailCatcher,
        &mail_send::MailSend,
        &mail_wait::MailWait,
        &exec::Exec,
        #[cfg(all(feature = "browser", unix))]
        &browser::BrowserAction,
        #[cfg(feature = "plugins")]
        &plugin::PluginAction,
        &mock_server_start::MockServerStart,
        &mock_server_verify::MockServerVerify,
        &mock_server_configure::MockServerConfigure,
        &mock_server_update::MockServerUpdate,
        &mock_server_reset_state::MockServerResetState,
        &mock_server_stop::MockServerStop,
        &websocket::Websocket,
        &contract_generate::ContractGenerate,
        &contract_verify::ContractVerify,
        &log::Log,
        &delay::Delay,
        &assert::Assert,
        &awaiting::Await,
        &transform::Transform,
        &condition::Condition,
        &for_each::ForEach,
        &parallel::Parallel,
        &wait_until::WaitUntil,
        &wait_for::WaitFor,
        &run_flow::RunFlow,
    ]
}

/// The action with this name or alias.
pub(crate) fn find(name: &str) -> Option<&'static dyn Action> {
    #[cfg(test)]
    match name {
        "panic" => return Some(&crate::engine::tests::Panic),
        "promise" => return Some(&crate::engine::tests::armed::Promise),
        _ => {}
    }
    let named = |action: &&dyn Action| action.spec().name == name || action.spec().aliases.contains(&name);
    let by_name = || registry().iter().copied().find(named);
    // `redis.hset`: every command is a name, and `plugin.sums` too.
    let family = || name.split(['.', '_']).next().filter(|family| matches!(*family, "redis" | "plugin"));
    let by_family = || registry().iter().copied().find(|action| family() == Some(action.spec().name));
    by_name().or_else(|| verb(name).and_then(|_| by_family()))
}

/// The action of a step that has `await` instead of `action`.
pub(crate) fn awaiting() -> &'static dyn Action {
    &awaiting::Await
}

/// What the name of an action says beyond the action: the `hset` of `redis.hset`.
pub(crate) fn verb(name: &str) -> Option<&str> {
    if let Some(plugin) = name.strip_prefix("plugin.") {
        return Some(plugin);
    }
    match name.split_once(['.', '_'])? {
        ("redis", verb) if !verb.is_empty() => Some(verb),
        ("websocket", verb) if websocket::VERBS.contains(&verb) => Some(verb),
        _ => None,
    }
}

/// Names of actions that a build can do without, by the cargo feature that has them.
const OPTIONAL: &[(&str, &[&str])] = &[
    ("browser", &["browser", "browser_test"]),
    ("grpc", &["grpc", "grpc_call", "grpc_stream"]),
    (
        "kafka",
        &[
            "kafka_producer",
            "kafka_publish",
            "kafka_produce",
            "kafka.produce",
            "kafka.publish",
            "kafka_consumer",
            "kafka_consume",
            "kafka.consume",
        ],
    ),
    ("plugins", &["plugin"]),
];

/// The cargo feature that this build was made without and that has the action of this name.
pub(crate) fn left_out(name: &str) -> Option<&'static str> {
    let known = if name.starts_with("plugin.") { "plugin" } else { name };
    let (feature, _) = OPTIONAL.iter().find(|(_, names)| names.contains(&known))?;
    find(name).is_none().then_some(*feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_optional_action_is_there_with_its_feature_and_told_without_it() {
        for (feature, names) in OPTIONAL {
            let present = match *feature {
                "browser" => cfg!(all(feature = "browser", unix)),
                "grpc" => cfg!(feature = "grpc"),
                "kafka" => cfg!(feature = "kafka"),
                "plugins" => cfg!(feature = "plugins"),
                other => panic!("`{other}` is no feature"),
            };
            for name in *names {
                assert_eq!(find(name).is_some(), present, "{name}");
                assert_eq!(left_out(name), (!present).then_some(*feature), "{name}");
            }
            let all = registry().iter().filter(|action| names.contains(&action.spec().name));
            for alias in all.flat_map(|action| action.spec().aliases) {
                assert!(names.contains(alias), "`{alias}` is not in the list of `{feature}`");
            }
        }
    }
}
