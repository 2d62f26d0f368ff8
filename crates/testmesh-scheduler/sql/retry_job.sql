update scheduler.jobs
set state = 'queued', attempt = attempt + 1, max_attempts = attempt + 1, available_at = $3, dispatched_at = null,
    seen_at = null, finished_at = null
where id = $1 and attempt = $2 and state = 'dead'
returning id, schedule_id, manual, nominal_at, flow_id, payload, state, attempt, max_attempts, available_at, dispatched_at,
       seen_at, finished_at, outcome, reason, message, execution_id, created_at
