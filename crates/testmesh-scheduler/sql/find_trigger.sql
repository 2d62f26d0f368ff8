-- The job of an id, or of a key.
select id, schedule_id, manual, nominal_at, flow_id, payload, state, attempt, max_attempts, available_at, dispatched_at,
       seen_at, finished_at, outcome, reason, message, execution_id, created_at
from scheduler.jobs
where id = $1 or (schedule_id = $2 and trigger_key = $3)
