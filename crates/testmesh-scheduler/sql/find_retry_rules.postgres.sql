-- By an array of ids: a join alone may be planned, while the table is small, to read all of it for each batch.
-- The state in `coalesce` is for no index, so that the plan is not to read all that is not over.
select id, attempt, max_attempts, payload
from scheduler.jobs
where id = any (array(select cast(value as uuid) from json_array_elements_text(cast($1 as json))))
  and coalesce(state in ('queued', 'dispatched', 'running'), false)
