-- Several processes share the runs: who holds which, what is to be told, and runs that belong together.

-- A row per life of a runner process. It is dead, and its runs others' to settle, once lease_until has passed.
create table executions.runner_sessions (
    id uuid not null primary key,
    name text not null,
    slots bigint not null,
    draining boolean not null,
    heartbeat_at timestamptz not null,
    lease_until timestamptz not null
);

-- Who holds the run: the session that runs it, or in whose queue it waits. Null: anybody may take it.
alter table executions.executions add column session_id uuid;
-- Which attempt of its job, from 1.
alter table executions.executions add column attempt bigint not null default 1;
-- When the run ends itself at the latest.
alter table executions.executions add column deadline_at timestamptz;
alter table executions.executions add column cancel_requested boolean not null default false;
-- The batch it belongs to, and its place there from 0.
alter table executions.executions add column batch_id uuid;
alter table executions.executions add column batch_row bigint;

create unique index executions_attempt on executions.executions (job_id, attempt) where job_id is not null;
create unique index executions_of_batch on executions.executions (batch_id, batch_row) where batch_id is not null;
create index executions_held on executions.executions (session_id, status) where status in ('queued', 'running');
create index executions_to_cancel on executions.executions (session_id) where cancel_requested and status in ('queued', 'running');
drop index executions.executions_unfinished;

-- Messages that are stored with what they tell, and deleted once they are published.
create table executions.outbox (
    seq bigint generated always as identity primary key,
    topic text not null,
    payload text not null,
    created_at timestamptz not null
);

-- Runs that belong together: those of a suite, or of the rows of a flow's data. Its session starts them in their order,
-- so many at a time.
create table executions.batches (
    id uuid not null primary key,
    kind text not null check (kind in ('suite', 'data')),
    name text not null,
    flow_id uuid,
    environment text,
    parallelism bigint not null,
    total bigint not null,
    trigger_kind text not null check (trigger_kind in ('api', 'schedule', 'manual', 'cli')),
    schedule_id uuid,
    job_id uuid,
    attempt bigint not null,
    session_id uuid,
    cancel_requested boolean not null,
    created_at timestamptz not null,
    finished_at timestamptz
);

create unique index batches_attempt on executions.batches (job_id, attempt) where job_id is not null;
create index batches_held on executions.batches (session_id) where finished_at is null;
