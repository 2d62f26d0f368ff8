insert into scheduler.jobs (
    id, schedule_id, manual, trigger_key, nominal_at, flow_id, payload, state, attempt, max_attempts, available_at,
    created_at
)
values ($1, $2, true, $3, $4, $5, $6, 'queued', 1, $7, $4, $4)
on conflict do nothing
