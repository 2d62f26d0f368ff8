delete from executions.runner_sessions
where lease_until < $1
