//! The history of the schema `scheduler`.

use testmesh_shared::db::{Migration, Schema};

/// The schema `scheduler`: schedules and jobs.
pub const SCHEMA: Schema = Schema {
    name: "scheduler",
    postgres: &[Migration {
        version: 1,
        name: "create",
        sql: include_str!("../../../migrations/scheduler/postgres/0001_create.sql"),
    }],
    sqlite: &[Migration {
        version: 1,
        name: "create",
        sql: include_str!("../../../migrations/scheduler/sqlite/0001_create.sql"),
    }],
};
