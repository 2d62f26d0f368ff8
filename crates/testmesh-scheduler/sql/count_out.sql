-- Jobs that were sent, are not due again at $1, and that no runner told of.
select count(*) as n_jobs
from scheduler.jobs
where state in ('queued', 'dispatched', 'running') and state = 'dispatched' and available_at > $1
