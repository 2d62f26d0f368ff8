select e.id, e.flow_id, e.flow_name, e.flow_version, e.status, e.trigger_kind, e.schedule_id, e.job_id, e.attempt, e.batch_id, e.environment, e.variables,
       e.queued_at, e.started_at, e.finished_at, e.duration_ms, e.total_steps, e.passed_steps, e.failed_steps, e.skipped_steps,
       e.error_code, e.error_message, e.trace_id, e.runner
from executions.executions e
where e.id = $1
