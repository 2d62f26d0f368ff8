-- One that waits becomes the caller's, which ends it; one that runs is ended by whoever runs it.
update executions.executions
set cancel_requested = true, session_id = case status when 'queued' then $2 else session_id end
where id = $1 and status in ('queued', 'running')
returning status
