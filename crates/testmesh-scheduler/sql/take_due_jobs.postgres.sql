-- $1 the time, $2 when they are to be taken again unless a runner tells of them, $3 how many at most, $4 how many may be
-- out that no runner told of. Those that another process holds are its own to send.
with due as (
    select id
    from scheduler.jobs
    where state in ('queued', 'dispatched', 'running') and available_at <= $1
    order by available_at
    limit greatest(0, least($3, $4 - (
        select count(*)
        from scheduler.jobs
        where state in ('queued', 'dispatched', 'running') and state = 'dispatched' and available_at > $1
    )))
    for update skip locked
)
update scheduler.jobs as j
set state = case j.state when 'queued' then 'dispatched' else j.state end, dispatched_at = $1, available_at = $2
from due
where j.id = due.id
returning j.id, j.attempt, j.schedule_id, j.manual, j.nominal_at, j.flow_id, j.payload
