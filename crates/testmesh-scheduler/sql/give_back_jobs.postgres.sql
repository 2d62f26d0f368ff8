-- Not sent after all: due again at $2, unless somebody else took them since $3.
-- By an array of ids: a join alone may be planned, while the table is small, to read all of it for each batch.
-- The state in `coalesce` is for no index, so that the plan is not to read all that is not over.
update scheduler.jobs
set available_at = $2
where id = any (array(select cast(value as uuid) from json_array_elements_text(cast($1 as json))))
  and coalesce(state in ('dispatched', 'running'), false) and dispatched_at = $3
