insert into executions.executions (
    id, flow_id, flow_name, flow_version, definition_hash, status, trigger_kind, schedule_id, job_id, environment,
    variables, queued_at, started_at, total_steps, passed_steps, failed_steps, skipped_steps, trace_id, options,
    session_id, attempt, deadline_at, batch_id, batch_row
)
select unhex(value ->> 'id', '-'), unhex(value ->> 'flow_id', '-'), value ->> 'flow_name', value ->> 'flow_version',
       unhex(value ->> 'definition_hash'), value ->> 'status', value ->> 'trigger', unhex(value ->> 'schedule_id', '-'),
       unhex(value ->> 'job_id', '-'), value ->> 'environment', value ->> 'variables', value ->> 'queued_at',
       value ->> 'started_at', value ->> 'total_steps', 0, 0, 0, value ->> 'trace_id', value ->> 'options',
       unhex(value ->> 'session_id', '-'), value ->> 'attempt', value ->> 'deadline_at', unhex(value ->> 'batch_id', '-'),
       value ->> 'batch_row'
from json_each($1)
where value ->> 'job_id' is null
   or not exists (
       select 1
       from executions.batches b
       where b.job_id = unhex(value ->> 'job_id', '-') and b.attempt = value ->> 'attempt'
   )
on conflict do nothing
returning id
