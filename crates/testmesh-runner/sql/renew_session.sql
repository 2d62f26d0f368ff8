-- A session that died stays dead: others have settled its runs.
update executions.runner_sessions
set heartbeat_at = $2, lease_until = $3
where id = $1 and lease_until > $2
