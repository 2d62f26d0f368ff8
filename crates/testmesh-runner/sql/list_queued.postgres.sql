-- Those of $2 that wait in session $1, with what they need to start.
select e.id, e.flow_id, e.flow_name, e.flow_version, e.status, e.trigger_kind, e.schedule_id, e.job_id, e.attempt, e.batch_id,
       e.environment, e.variables, e.queued_at, e.started_at, e.finished_at, e.duration_ms, e.total_steps, e.passed_steps,
       e.failed_steps, e.skipped_steps, e.error_code, e.error_message, e.trace_id, e.runner, d.text as definition, e.options,
       e.cancel_requested, e.batch_row
from json_array_elements_text(cast($2 as json)) as wanted (id)
join executions.executions e on e.id = cast(wanted.id as uuid)
join executions.definitions d on d.hash = e.definition_hash
where e.session_id = $1 and e.status = 'queued'
order by e.queued_at, e.id
