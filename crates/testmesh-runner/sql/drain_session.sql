update executions.runner_sessions
set draining = true
where id = $1
