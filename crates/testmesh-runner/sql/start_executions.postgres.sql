-- Options stay: a run that is put back needs them again.
update executions.executions as e
set status = 'running', started_at = begun.started_at, deadline_at = begun.deadline_at
from json_to_recordset(cast($1 as json)) as begun (
    id uuid, attempt bigint, session_id uuid, started_at timestamptz, deadline_at timestamptz
)
where e.id = begun.id and e.attempt = begun.attempt and e.session_id = begun.session_id and e.status = 'queued'
  and not e.cancel_requested
returning e.id
