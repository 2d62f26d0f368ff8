-- $1 status, $2 trigger, $3 schedule, $4 and $5 queued at or after, before; $6 and $7 the last item seen; $8 how many; $9 the batch.
select e.id, e.flow_id, e.flow_name, e.flow_version, e.status, e.trigger_kind, e.schedule_id, e.job_id, e.attempt, e.batch_id, e.environment, e.variables,
       e.queued_at, e.started_at, e.finished_at, e.duration_ms, e.total_steps, e.passed_steps, e.failed_steps, e.skipped_steps,
       e.error_code, e.error_message, e.trace_id, e.runner
from executions.executions e
where e.batch_id = $9
  and (e.status = $1 or cast($1 as text) is null)
  and (e.trigger_kind = $2 or cast($2 as text) is null)
  and (e.schedule_id = $3 or cast($3 as text) is null)
  and (e.queued_at >= $4 or cast($4 as text) is null)
  and (e.queued_at < $5 or cast($5 as text) is null)
  and ((e.queued_at, e.id) < ($6, $7) or cast($6 as text) is null)
order by e.queued_at desc, e.id desc
limit $8
