insert into scheduler.jobs (
    id, schedule_id, manual, nominal_at, flow_id, payload, state, attempt, max_attempts, available_at, finished_at,
    reason, message, created_at
)
select unhex(value ->> 'id', '-'), unhex(value ->> 'schedule_id', '-'), false, value ->> 'nominal_at',
       unhex(value ->> 'flow_id', '-'), value ->> 'payload', value ->> 'state', value ->> 'attempt',
       value ->> 'max_attempts', value ->> 'available_at', value ->> 'finished_at', value ->> 'reason',
       value ->> 'message', value ->> 'created_at'
from json_each($1)
where true
on conflict do nothing
