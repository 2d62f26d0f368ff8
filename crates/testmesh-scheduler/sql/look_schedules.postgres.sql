-- The time, unless $1 says it, and when the next schedule is due.
select coalesce(cast($1 as timestamptz), clock_timestamp()) as now,
       (select min(next_fire_at) from scheduler.schedules where enabled) as next_at
