select schedule_id, count(*) as n_jobs
from scheduler.jobs
where state in ('waiting', 'queued', 'dispatched', 'running')
  and schedule_id in (select unhex(value, '-') from json_each($1))
group by schedule_id
