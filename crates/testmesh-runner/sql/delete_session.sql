delete from executions.runner_sessions
where id = $1
