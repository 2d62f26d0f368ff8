update executions.executions as e
set status = 'running', started_at = begun.started_at, options = null
from json_to_recordset(cast($1 as json)) as begun (id uuid, started_at timestamptz)
where e.id = begun.id and e.status = 'queued'
returning e.id
