-- Not sent after all: due again at $2, not at $3, unless somebody took them or told of them since.
-- By an array of ids: a join alone may be planned, while the table is small, to read all of it for each batch.
-- The state in `coalesce` is for no index, so that the plan is not to read all that is not over.
update scheduler.jobs
set available_at = $2
where id = any (array(select cast(value as uuid) from json_array_elements_text(cast($1 as json))))
  and coalesce(state in ('dispatched', 'running'), false) and available_at = $3
