-- Where one process has the database, every session but its own is dead.
delete from executions.runner_sessions
where id <> $1
