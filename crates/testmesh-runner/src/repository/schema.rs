//! The history of the schema `executions`.

use testmesh_shared::db::{Migration, Schema};

/// The schema `executions`: runs, their steps and events.
pub const SCHEMA: Schema = Schema {
    name: "executions",
    postgres: &[
        Migration {
            version: 1,
            name: "create",
            sql: include_str!("../../../../migrations/executions/postgres/0001_create.sql"),
        },
        Migration {
            version: 2,
            name: "sessions",
            sql: include_str!("../../../../migrations/executions/postgres/0002_sessions.sql"),
        },
    ],
    sqlite: &[
        Migration {
            version: 1,
            name: "create",
            sql: include_str!("../../../../migrations/executions/sqlite/0001_create.sql"),
        },
        Migration {
            version: 2,
            name: "sessions",
            sql: include_str!("../../../../migrations/executions/sqlite/0002_sessions.sql"),
        },
    ],
};
