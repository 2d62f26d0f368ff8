-- Cron schedules, and a job for each time that one fired. Ids are 16 bytes; times are RFC 3339 text of one width.

create table scheduler.schedules (
    id blob not null primary key check (length(id) = 16),
    name text not null unique,
    flow_id blob not null,
    flow_version integer,
    cron text not null,
    timezone text not null,
    misfire text not null check (misfire in ('fire_once', 'skip', 'catch_up')),
    catchup_max integer not null,
    overlap text not null check (overlap in ('skip', 'queue', 'allow')),
    jitter_s integer not null,
    environment text,
    variables text not null,
    retry text not null,
    enabled integer not null,
    revision integer not null,
    -- The next time it is for. While it is paused: the first time that it missed, or is to miss.
    next_fire_at text,
    created_at text not null,
    updated_at text not null
) strict, without rowid;

create index scheduler.schedules_newest on schedules (created_at, id);
create index scheduler.schedules_due on schedules (next_fire_at) where enabled;

-- Ids are in the order of creation. Every index but the last four is written for each job that runs.
create table scheduler.jobs (
    id blob not null primary key check (length(id) = 16),
    schedule_id blob,
    manual integer not null,
    -- What the caller of a firing by hand gave, so that repeating it fires once.
    trigger_key text,
    nominal_at text not null,
    flow_id blob not null,
    -- Version, environment, variables and retry rule as they were when it fired.
    payload text not null,
    state text not null check (
        state in ('waiting', 'queued', 'dispatched', 'running', 'passed', 'failed', 'cancelled', 'dead', 'skipped')
    ),
    attempt integer not null,
    max_attempts integer not null,
    -- When the dispatcher takes it next: its own time, or as long after it was dispatched or seen as may pass without a
    -- sign of life.
    available_at text not null,
    dispatched_at text,
    seen_at text,
    finished_at text,
    outcome text,
    reason text,
    message text,
    execution_id blob,
    created_at text not null
) strict, without rowid;

create unique index scheduler.jobs_firing on jobs (schedule_id, nominal_at) where not manual;
create index scheduler.jobs_due on jobs (available_at) where state in ('queued', 'dispatched', 'running');
create index scheduler.jobs_unfinished on jobs (schedule_id)
where state in ('waiting', 'queued', 'dispatched', 'running');
create index scheduler.jobs_waiting on jobs (schedule_id, nominal_at) where state = 'waiting';
create index scheduler.jobs_in_trouble on jobs (state, id) where state in ('failed', 'cancelled', 'dead', 'skipped');
create index scheduler.jobs_by_hand on jobs (schedule_id, nominal_at, id) where manual;
create unique index scheduler.jobs_trigger on jobs (schedule_id, trigger_key) where trigger_key is not null;
