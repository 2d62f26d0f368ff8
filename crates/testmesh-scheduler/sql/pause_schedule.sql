update scheduler.schedules
set enabled = false, revision = revision + 1, updated_at = $2
where id = $1 and enabled
returning id, name, flow_id, flow_version, cron, timezone, misfire, catchup_max, overlap, jitter_s, environment, variables,
       retry, enabled, revision, next_fire_at, created_at, updated_at
