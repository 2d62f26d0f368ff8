-- A final state never changes, and only the session that has the run ends it.
update executions.executions as e
set status = finish.value ->> 'status',
    started_at = finish.value ->> 'started_at',
    finished_at = finish.value ->> 'finished_at',
    duration_ms = finish.value ->> 'duration_ms',
    total_steps = finish.value ->> 'total_steps',
    passed_steps = finish.value ->> 'passed_steps',
    failed_steps = finish.value ->> 'failed_steps',
    skipped_steps = finish.value ->> 'skipped_steps',
    error_code = finish.value ->> 'error_code',
    error_message = finish.value ->> 'error_message',
    trace_id = finish.value ->> 'trace_id',
    runner = finish.value ->> 'runner',
    options = null
from json_each($1) finish
where e.id = unhex(finish.value ->> 'id', '-') and e.attempt = finish.value ->> 'attempt'
  and e.session_id = unhex(finish.value ->> 'session_id', '-') and e.status in ('queued', 'running')
returning id
