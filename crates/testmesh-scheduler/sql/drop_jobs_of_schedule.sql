-- Those that no runner was told of.
update scheduler.jobs
set state = 'skipped', reason = 'deleted', message = $3, finished_at = $2
where schedule_id = $1 and state in ('waiting', 'queued')
