update executions.batches
set cancel_requested = true
where id = $1 and finished_at is null
returning id
