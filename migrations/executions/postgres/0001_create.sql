-- Runs of flows, their steps and events.

-- The texts that were run, once each however often they run. A text is never changed.
create table executions.definitions (
    hash bytea not null primary key check (length(hash) = 32),
    text text not null
);

create table executions.executions (
    id uuid not null primary key,
    flow_id uuid,
    flow_name text not null,
    flow_version bigint,
    definition_hash bytea not null references executions.definitions (hash),
    status text not null check (status in ('queued', 'running', 'passed', 'failed', 'error', 'cancelled')),
    trigger_kind text not null check (trigger_kind in ('api', 'schedule', 'manual', 'cli')),
    schedule_id uuid,
    job_id uuid,
    environment text,
    variables text not null,
    queued_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,
    duration_ms bigint,
    total_steps bigint not null,
    passed_steps bigint not null,
    failed_steps bigint not null,
    skipped_steps bigint not null,
    error_code text,
    error_message text,
    trace_id text,
    runner text,
    -- What a run that still waits needs besides, to start after a restart. Null once it has started.
    options text
);

create index executions_newest on executions.executions (queued_at, id);
create index executions_of_flow on executions.executions (flow_id, queued_at, id) where flow_id is not null;
create index executions_unfinished on executions.executions (status) where status in ('queued', 'running');

-- A row per step that ended; record is all there is to know about it, as JSON.
create table executions.execution_steps (
    execution_id uuid not null references executions.executions (id),
    ordinal bigint not null,
    step_id text not null,
    phase text not null check (phase in ('setup', 'main', 'teardown')),
    status text not null,
    record text not null,
    primary key (execution_id, ordinal)
);

-- A row per write of the recorder: the events seq_from to seq_to as a JSON list. An event that ends a step stands for
-- that step's record and has its ordinal alone. Event 1, execution.queued, is the execution's own row.
create table executions.execution_events (
    execution_id uuid not null references executions.executions (id),
    seq_from bigint not null,
    seq_to bigint not null,
    events text not null,
    primary key (execution_id, seq_from)
);

create table executions.idempotency_keys (
    key text not null primary key,
    request_hash text not null,
    execution_id uuid not null,
    created_at timestamptz not null
);

create index idempotency_keys_oldest on executions.idempotency_keys (created_at);
