-- Several processes share the runs: who holds which, what is to be told, and runs that belong together.

-- A row per life of a runner process. It is dead, and its runs others' to settle, once lease_until has passed.
create table executions.runner_sessions (
    id blob not null primary key,
    name text not null,
    slots integer not null,
    draining integer not null,
    heartbeat_at text not null,
    lease_until text not null
) strict, without rowid;

-- Who holds the run: the session that runs it, or in whose queue it waits. Null: anybody may take it.
alter table executions.executions add column session_id blob;
-- Which attempt of its job, from 1.
alter table executions.executions add column attempt integer not null default 1;
-- When the run ends itself at the latest.
alter table executions.executions add column deadline_at text;
alter table executions.executions add column cancel_requested integer not null default 0;
-- The batch it belongs to, and its place there from 0.
alter table executions.executions add column batch_id blob;
alter table executions.executions add column batch_row integer;

create unique index executions.executions_attempt on executions (job_id, attempt) where job_id is not null;
create unique index executions.executions_of_batch on executions (batch_id, batch_row) where batch_id is not null;
create index executions.executions_held on executions (session_id, status) where status in ('queued', 'running');
create index executions.executions_to_cancel on executions (session_id) where cancel_requested and status in ('queued', 'running');
drop index executions.executions_unfinished;

-- Messages that are stored with what they tell, and deleted once they are published.
create table executions.outbox (
    seq integer not null primary key autoincrement,
    topic text not null,
    payload text not null,
    created_at text not null
) strict;

-- Runs that belong together: those of a suite, or of the rows of a flow's data. Its session starts them in their order,
-- so many at a time.
create table executions.batches (
    id blob not null primary key,
    kind text not null check (kind in ('suite', 'data')),
    name text not null,
    flow_id blob,
    environment text,
    parallelism integer not null,
    total integer not null,
    trigger_kind text not null check (trigger_kind in ('api', 'schedule', 'manual', 'cli')),
    schedule_id blob,
    job_id blob,
    attempt integer not null,
    session_id blob,
    cancel_requested integer not null,
    created_at text not null,
    finished_at text
) strict, without rowid;

create unique index executions.batches_attempt on batches (job_id, attempt) where job_id is not null;
create index executions.batches_held on batches (session_id) where finished_at is null;
