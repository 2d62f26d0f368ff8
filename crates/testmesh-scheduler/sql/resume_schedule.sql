-- Only if nobody else resumed it since it was read.
update scheduler.schedules
set enabled = true, revision = revision + 1, updated_at = $2, next_fire_at = $3
where id = $1 and not enabled and revision = $4
returning id, name, flow_id, flow_version, cron, timezone, misfire, catchup_max, overlap, jitter_s, environment, variables,
       retry, enabled, revision, next_fire_at, created_at, updated_at
