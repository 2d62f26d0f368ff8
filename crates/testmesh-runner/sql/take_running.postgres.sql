-- Runs that were going in sessions that are dead at $2 become those of session $1, which ends them.
update executions.executions as e
set session_id = $1
where e.id in (
    select d.id
    from executions.executions d
    where d.status in ('queued', 'running')
      and d.status = 'running'
      and not exists (
          select 1 from executions.runner_sessions s where s.id = d.session_id and s.lease_until > $2
      )
    limit $3
    for update of d skip locked
)
returning e.id
