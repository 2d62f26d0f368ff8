//! Database handles: one enum over PostgreSQL and SQLite, and the migrations of a schema.
// SKELETON: owner S.
