-- $1 the schedule, $2 and $3 the last item seen, $4 the state, $5 how many. In two parts, one for each index.
select id, schedule_id, manual, nominal_at, flow_id, payload, state, attempt, max_attempts, available_at, dispatched_at,
       seen_at, finished_at, outcome, reason, message, execution_id, created_at
from scheduler.jobs
where id in (
    select id from (
        select id
        from scheduler.jobs
        where schedule_id = $1 and not manual
          and ((nominal_at, id) < ($2, $3) or cast($2 as text) is null)
          and (state = $4 or cast($4 as text) is null)
        order by nominal_at desc, id desc
        limit $5
    ) as fired
    union all
    select id from (
        select id
        from scheduler.jobs
        where schedule_id = $1 and manual
          and ((nominal_at, id) < ($2, $3) or cast($2 as text) is null)
          and (state = $4 or cast($4 as text) is null)
        order by nominal_at desc, id desc
        limit $5
    ) as by_hand
)
order by nominal_at desc, id desc
limit $5
