-- Runs that were marked as running ahead of their turn and did nothing: they wait again, for anybody.
update executions.executions as e
set status = 'queued', started_at = null, session_id = null
from json_each($2) wanted
where e.id = unhex(wanted.value, '-') and e.session_id = $1 and e.status = 'running'
