-- The first of each schedule that has nothing else going. The state stands in both places: another process may have
-- released it since this one looked. One row of each is looked for by its index; what stands in `coalesce` is for none.
update scheduler.jobs
set state = 'queued', available_at = $1
where coalesce(state = 'waiting', false)
  and id = any (array(
      select w.id
      from scheduler.jobs as w
      where w.state = 'waiting'
        and (
            select before.id
            from scheduler.jobs as before
            where before.schedule_id = w.schedule_id
              and before.state = 'waiting'
              and (before.nominal_at, before.id) < (w.nominal_at, w.id)
            limit 1
        ) is null
        and (
            select going.id
            from scheduler.jobs as going
            where going.schedule_id = w.schedule_id
              and going.state in ('queued', 'dispatched', 'running')
            limit 1
        ) is null
  ))
