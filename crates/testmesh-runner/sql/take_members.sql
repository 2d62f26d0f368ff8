-- The runs of a batch wait in the session that has the batch.
update executions.executions
set session_id = $1
where batch_id = $2 and status = 'queued'
