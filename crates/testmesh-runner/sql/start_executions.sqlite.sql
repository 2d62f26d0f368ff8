update executions.executions
set status = 'running', started_at = start.value ->> 'started_at', options = null
from json_each($1) start
where id = unhex(start.value ->> 'id', '-') and status = 'queued'
returning executions.id
