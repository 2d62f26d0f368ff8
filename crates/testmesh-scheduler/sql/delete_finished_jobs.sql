-- $1 the first id of the time that is kept, $2 that time, $3 how many at most.
delete from scheduler.jobs
where id in (
    select id
    from scheduler.jobs
    where id < $1 and finished_at < $2
    order by id
    limit $3
)
