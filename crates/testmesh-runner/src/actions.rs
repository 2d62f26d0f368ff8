//! The actions there are: one line each.

use crate::action::Action;

mod assert;
mod condition;
mod delay;
mod for_each;
mod http_request;
mod log;
mod parallel;
mod run_flow;
mod transform;
mod wait_for;
mod wait_until;

/// Every action, in the order of the reference.
pub(crate) fn registry() -> &'static [&'static dyn Action] {
    &[
        &http_request::HttpRequest,
        &log::Log,
        &delay::Delay,
        &assert::Assert,
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
    if name == "panic" {
        return Some(&crate::engine::tests::Panic);
    }
    registry().iter().copied().find(|action| action.spec().name == name || action.spec().aliases.contains(&name))
}

/// Actions of the design that this release does not have yet, so that validation can say so by name.
pub(crate) const PLANNED: &[&str] = &[
    "amqp",
    "browser",
    "contract_generate",
    "contract_verify",
    "database_query",
    "db_poll",
    "exec",
    "grpc",
    "grpc_call",
    "grpc_stream",
    "kafka.consume",
    "kafka.produce",
    "kafka_consume",
    "kafka_consumer",
    "kafka_producer",
    "kafka_publish",
    "mail",
    "mock_server_configure",
    "mock_server_reset_state",
    "mock_server_start",
    "mock_server_stop",
    "mock_server_update",
    "mock_server_verify",
    "mqtt",
    "nats",
    "redis",
    "sql",
    "websocket",
];
