-- Flows, every version of their text, and environments.
-- Ids are 16 bytes; times are RFC 3339 text of one width; lists and maps are JSON text.

create table flows.flows (
    id blob not null primary key check (length(id) = 16),
    name text not null,
    description text,
    suite text,
    tags text not null,
    -- Name and description in lower case: SQLite's own lower() knows ASCII alone.
    search_text text not null,
    version integer not null check (version >= 1),
    created_at text not null,
    updated_at text not null,
    deleted_at text
) strict, without rowid;

create unique index flows.flows_name on flows (name) where deleted_at is null;
create index flows.flows_newest on flows (created_at, id) where deleted_at is null;

create table flows.versions (
    flow_id blob not null references flows (id),
    version integer not null check (version >= 1),
    yaml text not null,
    created_at text not null,
    primary key (flow_id, version)
) strict;

create table flows.environments (
    id blob not null primary key check (length(id) = 16),
    name text not null unique,
    description text,
    variables text not null,
    revision integer not null check (revision >= 1),
    created_at text not null,
    updated_at text not null
) strict, without rowid;

create index flows.environments_newest on environments (created_at, id);
