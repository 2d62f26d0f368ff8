-- In the order of the jobs, so that two writers that have the same ones never wait for each other.
insert into executions.executions (
    id, flow_id, flow_name, flow_version, definition_hash, status, trigger_kind, schedule_id, job_id, environment,
    variables, queued_at, started_at, total_steps, passed_steps, failed_steps, skipped_steps, trace_id, options,
    session_id, attempt, deadline_at, batch_id, batch_row
)
select r.id, r.flow_id, r.flow_name, r.flow_version, decode(r.definition_hash, 'hex'), r.status, r.trigger, r.schedule_id,
       r.job_id, r.environment, r.variables, r.queued_at, r.started_at, r.total_steps, 0, 0, 0, r.trace_id, r.options,
       r.session_id, r.attempt, r.deadline_at, r.batch_id, r.batch_row
from json_to_recordset(cast($1 as json)) as r (
    id uuid, flow_id uuid, flow_name text, flow_version bigint, definition_hash text, status text, trigger text,
    schedule_id uuid, job_id uuid, environment text, variables text, queued_at timestamptz, started_at timestamptz,
    total_steps bigint, trace_id text, options text, session_id uuid, attempt bigint, deadline_at timestamptz, batch_id uuid,
    batch_row bigint
)
where r.job_id is null
   or not exists (select 1 from executions.batches b where b.job_id = r.job_id and b.attempt = r.attempt)
order by r.job_id, r.attempt
on conflict do nothing
returning id
