select id, attempt, max_attempts, payload
from scheduler.jobs
where id in (select unhex(value, '-') from json_each($1))
  and state in ('queued', 'dispatched', 'running')
