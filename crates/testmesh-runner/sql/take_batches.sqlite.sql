-- Batches of sessions that are dead at $2, or of none, become those of session $1.
update executions.batches as b
set session_id = $1
where b.id in (
    select d.id
    from executions.batches d
    where d.finished_at is null
      and not exists (
          select 1 from executions.runner_sessions s where s.id = d.session_id and s.lease_until > $2
      )
    limit $3
)
returning id
