delete from scheduler.schedules
where id = $1 and (revision = $2 or cast($2 as bigint) is null)
