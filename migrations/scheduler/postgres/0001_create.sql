-- Cron schedules, and a job for each time that one fired.

create table scheduler.schedules (
    id uuid not null primary key,
    name text not null unique,
    flow_id uuid not null,
    flow_version bigint,
    cron text not null,
    timezone text not null,
    misfire text not null check (misfire in ('fire_once', 'skip', 'catch_up')),
    catchup_max bigint not null,
    overlap text not null check (overlap in ('skip', 'queue', 'allow')),
    jitter_s bigint not null,
    environment text,
    variables text not null,
    retry text not null,
    enabled boolean not null,
    revision bigint not null,
    -- The next time it is for. While it is paused: the first time that it missed, or is to miss.
    next_fire_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create index schedules_newest on scheduler.schedules (created_at, id);
create index schedules_due on scheduler.schedules (next_fire_at) where enabled;

-- Ids are in the order of creation. Every index but the last four is written for each job that runs.
create table scheduler.jobs (
    id uuid not null primary key,
    schedule_id uuid,
    manual boolean not null,
    -- What the caller of a firing by hand gave, so that repeating it fires once.
    trigger_key text,
    nominal_at timestamptz not null,
    flow_id uuid not null,
    -- Version, environment, variables and retry rule as they were when it fired.
    payload text not null,
    state text not null check (
        state in ('waiting', 'queued', 'dispatched', 'running', 'passed', 'failed', 'cancelled', 'dead', 'skipped')
    ),
    attempt bigint not null,
    max_attempts bigint not null,
    -- When the dispatcher takes it next: its own time, or as long after it was dispatched or seen as may pass without a
    -- sign of life.
    available_at timestamptz not null,
    dispatched_at timestamptz,
    seen_at timestamptz,
    finished_at timestamptz,
    outcome text,
    reason text,
    message text,
    execution_id uuid,
    created_at timestamptz not null
);

create unique index jobs_firing on scheduler.jobs (schedule_id, nominal_at) where not manual;
create index jobs_due on scheduler.jobs (available_at) where state in ('queued', 'dispatched', 'running');
create index jobs_unfinished on scheduler.jobs (schedule_id)
where state in ('waiting', 'queued', 'dispatched', 'running');
create index jobs_waiting on scheduler.jobs (schedule_id, nominal_at) where state = 'waiting';
create index jobs_in_trouble on scheduler.jobs (state, id) where state in ('failed', 'cancelled', 'dead', 'skipped');
create index jobs_by_hand on scheduler.jobs (schedule_id, nominal_at, id) where manual;
create unique index jobs_trigger on scheduler.jobs (schedule_id, trigger_key) where trigger_key is not null;
