-- Runs and batches that session $1 has and somebody wants to end.
select e.id
from executions.executions e
where e.session_id = $1 and e.cancel_requested and e.status in ('queued', 'running')
union all
select b.id
from executions.batches b
where b.session_id = $1 and b.cancel_requested and b.finished_at is null
