//! The history of the schema `flows`.

use testmesh_shared::db::{Migration, Schema};

/// The schema `flows`: flows, their versions, environments.
pub const SCHEMA: Schema = Schema {
    name: "flows",
    postgres: &[
        Migration {
            version: 1,
            name: "create",
            sql: include_str!("../../../migrations/flows/postgres/0001_create.sql"),
        },
        Migration {
            version: 2,
            name: "writes",
            sql: include_str!("../../../migrations/flows/postgres/0002_writes.sql"),
        },
    ],
    sqlite: &[
        Migration { version: 1, name: "create", sql: include_str!("../../../migrations/flows/sqlite/0001_create.sql") },
        Migration { version: 2, name: "writes", sql: include_str!("../../../migrations/flows/sqlite/0002_writes.sql") },
    ],
};
