-- Flows, every version of their text, and environments. Lists and maps are JSON text.

create table flows.flows (
    id uuid not null primary key,
    name text not null,
    description text,
    suite text,
    tags text not null,
    -- Name and description in lower case, as SQLite needs it.
    search_text text not null,
    version bigint not null check (version >= 1),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz
);

create unique index flows_name on flows.flows (name) where deleted_at is null;
create index flows_newest on flows.flows (created_at, id) where deleted_at is null;

create table flows.versions (
    flow_id uuid not null references flows.flows (id),
    version bigint not null check (version >= 1),
    yaml text not null,
    created_at timestamptz not null,
    primary key (flow_id, version)
);

create table flows.environments (
    id uuid not null primary key,
    name text not null unique,
    description text,
    variables text not null,
    revision bigint not null check (revision >= 1),
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create index environments_newest on flows.environments (created_at, id);
