-- The time, unless $1 says it, and when the next schedule is due.
select coalesce($1, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')) as now,
       (select min(next_fire_at) from scheduler.schedules where enabled) as next_at
