-- A batch that is there already, by its id or as the attempt of its job, stays as it is.
insert into executions.batches (
    id, kind, name, flow_id, environment, parallelism, total, trigger_kind, schedule_id, job_id, attempt, session_id,
    cancel_requested, created_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, false, $13)
on conflict do nothing
returning id
