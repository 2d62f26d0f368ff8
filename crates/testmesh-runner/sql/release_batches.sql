update executions.batches
set session_id = null
where session_id = $1 and finished_at is null
