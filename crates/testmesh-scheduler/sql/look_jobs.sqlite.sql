-- The time, unless $1 says it, when the next job is due, and whether any waits for another.
select coalesce($1, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')) as now,
       (
           select min(available_at)
           from scheduler.jobs
           where state in ('queued', 'dispatched', 'running')
       ) as next_at,
       exists (select 1 from scheduler.jobs where state = 'waiting') as any_waiting
