-- Runs of flows, their steps and events. Ids are 16 bytes; times are RFC 3339 text of one width.

-- The texts that were run, once each however often they run. A text is never changed.
create table executions.definitions (
    hash blob not null primary key check (length(hash) = 32),
    text text not null
) strict;

create table executions.executions (
    id blob not null primary key check (length(id) = 16),
    flow_id blob,
    flow_name text not null,
    flow_version integer,
    definition_hash blob not null references definitions (hash),
    status text not null check (status in ('queued', 'running', 'passed', 'failed', 'error', 'cancelled')),
    trigger_kind text not null check (trigger_kind in ('api', 'schedule', 'manual', 'cli')),
    schedule_id blob,
    job_id blob,
    environment text,
    variables text not null,
    queued_at text not null,
    started_at text,
    finished_at text,
    duration_ms integer,
    total_steps integer not null,
    passed_steps integer not null,
    failed_steps integer not null,
    skipped_steps integer not null,
    error_code text,
    error_message text,
    trace_id text,
    runner text,
    -- What a run that still waits needs besides, to start after a restart. Null once it has started.
    options text
) strict, without rowid;

create index executions.executions_newest on executions (queued_at, id);
create index executions.executions_of_flow on executions (flow_id, queued_at, id) where flow_id is not null;
create index executions.executions_unfinished on executions (status) where status in ('queued', 'running');

-- A row per step that ended; record is all there is to know about it, as JSON.
create table executions.execution_steps (
    execution_id blob not null references executions (id),
    ordinal integer not null,
    step_id text not null,
    phase text not null check (phase in ('setup', 'main', 'teardown')),
    status text not null,
    record text not null,
    primary key (execution_id, ordinal)
) strict, without rowid;

-- A row per write of the recorder: the events seq_from to seq_to as a JSON list. An event that ends a step stands for
-- that step's record and has its ordinal alone. Event 1, execution.queued, is the execution's own row.
create table executions.execution_events (
    execution_id blob not null references executions (id),
    seq_from integer not null,
    seq_to integer not null,
    events text not null,
    primary key (execution_id, seq_from)
) strict, without rowid;

create table executions.idempotency_keys (
    key text not null primary key,
    request_hash text not null,
    execution_id blob not null,
    created_at text not null
) strict, without rowid;

create index executions.idempotency_keys_oldest on idempotency_keys (created_at);
