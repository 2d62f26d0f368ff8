select b.id, b.kind, b.name, b.flow_id, b.environment, b.parallelism, b.total, b.trigger_kind, b.schedule_id, b.job_id, b.attempt,
       b.session_id, b.cancel_requested, b.created_at, b.finished_at
from executions.batches b
where b.id = $1
