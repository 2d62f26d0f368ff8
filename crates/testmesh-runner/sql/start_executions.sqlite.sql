update executions.executions as e
set status = 'running', started_at = start.value ->> 'started_at', options = null
from json_each($1) start
where e.id = unhex(start.value ->> 'id', '-') and e.status = 'queued'
returning id
