insert into executions.runner_sessions (id, name, slots, draining, heartbeat_at, lease_until)
values ($1, $2, $3, false, $4, $5)
