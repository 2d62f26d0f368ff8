update executions.executions as e
set status = 'running', started_at = begun.value ->> 'started_at', options = null
from json_each($1) begun
where e.id = unhex(begun.value ->> 'id', '-') and e.status = 'queued'
returning id
