-- What reports say, each about one attempt; what is about another attempt, or about a job that is over, changes nothing.
update scheduler.jobs as j
set state = report.value ->> 'state',
    attempt = report.value ->> 'next_attempt',
    available_at = coalesce(report.value ->> 'available_at', j.available_at),
    seen_at = report.value ->> 'seen_at',
    finished_at = report.value ->> 'finished_at',
    outcome = coalesce(report.value ->> 'outcome', j.outcome),
    reason = case when report.value ->> 'outcome' is null then j.reason else report.value ->> 'reason' end,
    message = case when report.value ->> 'outcome' is null then j.message else report.value ->> 'message' end,
    execution_id = unhex(report.value ->> 'execution_id', '-')
from json_each($1) as report
where j.id = unhex(report.value ->> 'job_id', '-') and j.attempt = report.value ->> 'attempt'
  and j.state in ('queued', 'dispatched', 'running')
returning id, state
