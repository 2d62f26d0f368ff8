-- The first of each schedule that has nothing else going. The state stands in both places: another process may have
-- released it since this one looked.
update scheduler.jobs
set state = 'queued', available_at = $1
where state = 'waiting'
  and id in (
      select w.id
      from scheduler.jobs as w
      where w.state = 'waiting'
        and not exists (
            select 1
            from scheduler.jobs as before
            where before.schedule_id = w.schedule_id
              and before.state = 'waiting'
              and (before.nominal_at, before.id) < (w.nominal_at, w.id)
        )
        and not exists (
            select 1
            from scheduler.jobs as going
            where going.schedule_id = w.schedule_id
              and going.state in ('queued', 'dispatched', 'running')
        )
  )
