-- Options stay: a run that is put back needs them again.
update executions.executions as e
set status = 'running', started_at = begun.value ->> 'started_at', deadline_at = begun.value ->> 'deadline_at'
from json_each($1) begun
where e.id = unhex(begun.value ->> 'id', '-') and e.attempt = begun.value ->> 'attempt'
  and e.session_id = unhex(begun.value ->> 'session_id', '-') and e.status = 'queued'
  and not e.cancel_requested
returning id
