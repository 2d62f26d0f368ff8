-- Only on PostgreSQL: one process has a SQLite database, and settles what there is when it starts.
-- Whether there is something to take over or to publish, by the time of the database itself.
select exists (
           select 1
           from executions.executions e
           where e.status in ('queued', 'running')
             and (e.status = 'running' or e.batch_id is null)
             and not exists (
                 select 1 from executions.runner_sessions s where s.id = e.session_id and s.lease_until > t.now
             )
       ) or exists (
           select 1
           from executions.batches b
           where b.finished_at is null
             and not exists (
                 select 1 from executions.runner_sessions s where s.id = b.session_id and s.lease_until > t.now
             )
       ) as orphans,
       exists (select 1 from executions.outbox o where o.created_at < t.now - interval '5 seconds') as unpublished,
       exists (select 1 from executions.runner_sessions s where s.lease_until < t.now - interval '1 minute') as remains,
       t.now
from (select clock_timestamp() as now) t
