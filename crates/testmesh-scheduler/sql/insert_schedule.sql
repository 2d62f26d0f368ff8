insert into scheduler.schedules (
    id, name, flow_id, flow_version, cron, timezone, misfire, catchup_max, overlap, jitter_s, environment, variables,
    retry, enabled, revision, next_fire_at, created_at, updated_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1, $15, $16, $16)
on conflict (id) do nothing
