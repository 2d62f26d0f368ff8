-- $1 and $2 the last item seen, $3 the flow, $4 how many.
select id, name, flow_id, flow_version, cron, timezone, misfire, catchup_max, overlap, jitter_s, environment, variables,
       retry, enabled, revision, next_fire_at, created_at, updated_at
from scheduler.schedules
where ((created_at, id) < ($1, $2) or cast($1 as text) is null)
  and (flow_id = $3 or cast($3 as text) is null)
order by created_at desc, id desc
limit $4
