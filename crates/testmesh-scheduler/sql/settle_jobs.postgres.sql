-- What reports say, each about one attempt; what is about another attempt, or about a job that is over, changes nothing.
-- The rows are locked in one order, so that two processes with the same reports cannot wait for each other.
with report as (
    select job_id, attempt, state, next_attempt, available_at, seen_at, finished_at, outcome, reason, message,
           execution_id
    from json_to_recordset(cast($1 as json)) as r (
        job_id uuid, attempt bigint, state text, next_attempt bigint, available_at timestamptz, seen_at timestamptz,
        finished_at timestamptz, outcome text, reason text, message text, execution_id uuid
    )
), held as (
    select j.id
    from scheduler.jobs as j
    where j.id in (select report.job_id from report)
    order by j.id
    for update of j
)
update scheduler.jobs as j
set state = report.state,
    attempt = report.next_attempt,
    available_at = coalesce(report.available_at, j.available_at),
    seen_at = report.seen_at,
    finished_at = report.finished_at,
    outcome = coalesce(report.outcome, j.outcome),
    reason = case when report.outcome is null then j.reason else report.reason end,
    message = case when report.outcome is null then j.message else report.message end,
    execution_id = report.execution_id
from report, held
where j.id = held.id and held.id = report.job_id and j.attempt = report.attempt
  and j.state in ('queued', 'dispatched', 'running')
returning j.id, j.state
