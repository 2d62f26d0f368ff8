-- Over once every run of it is, and for the session that has it alone.
update executions.batches
set finished_at = $3
where id = $1 and session_id = $2 and finished_at is null
  and not exists (
      select 1 from executions.executions e where e.batch_id = $1 and e.status in ('queued', 'running')
  )
returning id
