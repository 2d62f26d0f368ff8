insert into scheduler.jobs (
    id, schedule_id, manual, nominal_at, flow_id, payload, state, attempt, max_attempts, available_at, finished_at,
    reason, message, created_at
)
select id, schedule_id, false, nominal_at, flow_id, payload, state, attempt, max_attempts, available_at, finished_at,
       reason, message, created_at
from json_to_recordset(cast($1 as json)) as job (
    id uuid, schedule_id uuid, nominal_at timestamptz, flow_id uuid, payload text, state text, attempt bigint,
    max_attempts bigint, available_at timestamptz, finished_at timestamptz, reason text, message text,
    created_at timestamptz
)
on conflict do nothing
