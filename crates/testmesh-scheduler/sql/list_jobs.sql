-- $1 the last item seen, $2 the state, $3 how many. Ids are in the order of creation.
select id, schedule_id, manual, nominal_at, flow_id, payload, state, attempt, max_attempts, available_at, dispatched_at,
       seen_at, finished_at, outcome, reason, message, execution_id, created_at
from scheduler.jobs
where (id < $1 or cast($1 as text) is null)
  and (state = $2 or cast($2 as text) is null)
order by id desc
limit $3
