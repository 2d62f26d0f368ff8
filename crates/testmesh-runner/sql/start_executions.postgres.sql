-- Options stay: a run that is put back needs them again.
-- By an array of ids: a join alone may be planned, while the table is small, to read all of it for each batch.
-- The state in `coalesce` is for no index, so that the plan is not to read all that is going on.
with begun as materialized (
    select id, attempt, session_id, started_at, deadline_at
    from json_to_recordset(cast($1 as json)) as begun (
        id uuid, attempt bigint, session_id uuid, started_at timestamptz, deadline_at timestamptz
    )
)
update executions.executions as e
set status = 'running', started_at = begun.started_at, deadline_at = begun.deadline_at
from begun
where e.id = any (array(select id from begun))
  and e.id = begun.id and e.attempt = begun.attempt and e.session_id = begun.session_id
  and coalesce(e.status = 'queued', false)
  and not e.cancel_requested
returning e.id
