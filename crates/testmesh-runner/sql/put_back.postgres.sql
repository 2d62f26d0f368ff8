-- Runs that were marked as running ahead of their turn and did nothing: they wait again, for anybody.
-- By an array of ids: a join alone may be planned, while the table is small, to read all of it for each batch.
-- The state in `coalesce` is for no index, so that the plan is not to read all that is going on.
update executions.executions as e
set status = 'queued', started_at = null, session_id = null
where e.id = any (array(select cast(value as uuid) from json_array_elements_text(cast($2 as json))))
  and e.session_id = $1 and coalesce(e.status = 'running', false)
