select id
from executions.batches
where session_id = $1 and finished_at is null
