-- Runs that wait in sessions that are dead at $2, or in none, go into the queue of session $1.
update executions.executions as e
set session_id = $1
where e.id in (
    select d.id
    from executions.executions d
    where d.status in ('queued', 'running')
      and d.status = 'queued'
      and d.batch_id is null
      and not exists (
          select 1 from executions.runner_sessions s where s.id = d.session_id and s.lease_until > $2
      )
    order by d.queued_at, d.id
    limit $3
    for update of d skip locked
)
returning e.id
