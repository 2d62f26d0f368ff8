-- Runs that session $1 has; of batches, only those that are running: the batch starts the others.
select id, status
from executions.executions
where session_id = $1 and status in ('queued', 'running') and (status = 'running' or batch_id is null)
