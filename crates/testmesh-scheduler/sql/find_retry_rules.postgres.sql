select id, attempt, max_attempts, payload
from scheduler.jobs
where id in (select cast(value as uuid) from json_array_elements_text(cast($1 as json)))
  and state in ('queued', 'dispatched', 'running')
