-- $1 the time, $2 when they are to be taken again unless a runner tells of them, $3 how many at most, $4 how many may be
-- out that no runner told of.
update scheduler.jobs
set state = case state when 'queued' then 'dispatched' else state end,
    dispatched_at = case state when 'queued' then $1 else dispatched_at end,
    available_at = $2
where id in (
    select id
    from scheduler.jobs
    where state in ('queued', 'dispatched', 'running') and available_at <= $1
    order by available_at
    limit max(0, min($3, $4 - (
        select count(*)
        from scheduler.jobs
        where state in ('queued', 'dispatched', 'running') and state = 'dispatched' and available_at > $1
    )))
)
returning id, attempt, schedule_id, manual, nominal_at, flow_id, payload, dispatched_at
