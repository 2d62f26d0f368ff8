-- The next firing stays when neither the expression nor the time zone changes.
update scheduler.schedules
set name = $2, flow_id = $3, flow_version = $4, misfire = $7, catchup_max = $8, overlap = $9, jitter_s = $10,
    environment = $11, variables = $12, retry = $13, updated_at = $15, revision = revision + 1,
    next_fire_at = case when cron = $5 and timezone = $6 then next_fire_at else $14 end,
    cron = $5, timezone = $6
where id = $1 and (revision = $16 or cast($16 as bigint) is null)
returning id, name, flow_id, flow_version, cron, timezone, misfire, catchup_max, overlap, jitter_s, environment, variables,
       retry, enabled, revision, next_fire_at, created_at, updated_at
