-- As list_jobs, for the states that an index is kept of.
select id, schedule_id, manual, nominal_at, flow_id, payload, state, attempt, max_attempts, available_at, dispatched_at,
       seen_at, finished_at, outcome, reason, message, execution_id, created_at
from scheduler.jobs
where (id < $1 or cast($1 as text) is null)
  and state = $2
  and state in ('waiting', 'queued', 'dispatched', 'running')
order by id desc
limit $3
