-- Runs that were marked as running ahead of their turn and did nothing: they wait again, for anybody.
update executions.executions as e
set status = 'queued', started_at = null, session_id = null
from json_array_elements_text(cast($2 as json)) as wanted (id)
where e.id = cast(wanted.id as uuid) and e.session_id = $1 and e.status = 'running'
