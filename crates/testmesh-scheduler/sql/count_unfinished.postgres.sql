-- In a statement of its own after the schedules are locked, so that it sees what was committed until then. By an array, as in
-- take_due_jobs.
select schedule_id, count(*) as n_jobs
from scheduler.jobs
where state in ('waiting', 'queued', 'dispatched', 'running')
  and schedule_id = any (array(select cast(value as uuid) from json_array_elements_text(cast($1 as json))))
group by schedule_id
