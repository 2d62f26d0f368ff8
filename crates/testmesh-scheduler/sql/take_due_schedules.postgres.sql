-- Those that another process holds are its own to fire.
select id, name, flow_id, flow_version, cron, timezone, misfire, catchup_max, overlap, jitter_s, environment, variables,
       retry, enabled, revision, next_fire_at, created_at, updated_at
from scheduler.schedules
where enabled and next_fire_at <= $1
order by next_fire_at
limit $2
for update skip locked
