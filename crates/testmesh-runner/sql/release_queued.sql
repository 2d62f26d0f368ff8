-- Runs that wait in session $1 are anybody's to take.
update executions.executions
set session_id = null
where session_id = $1 and status = 'queued' and batch_id is null
