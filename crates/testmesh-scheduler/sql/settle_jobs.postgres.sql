-- What reports say, each about one attempt; what is about another attempt, or about a job that is over, changes nothing.
-- Reports come in the order of their jobs, so that two processes with the same ones hardly wait for each other.
-- By an array of ids: a join alone may be planned, while the table is small, to read all of it for each batch. The list is
-- read once, which is most of what it costs.
-- The state in `coalesce` is for no index, so that the plan is not to read all that is not over.
with report as materialized (
    select job_id, attempt, state, next_attempt, available_at, seen_at, finished_at, outcome, reason, message,
        execution_id
    from json_to_recordset(cast($1 as json)) as report (
        job_id uuid, attempt bigint, state text, next_attempt bigint, available_at timestamptz, seen_at timestamptz,
        finished_at timestamptz, outcome text, reason text, message text, execution_id uuid
    )
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
from report
where j.id = any (array(select job_id from report))
  and j.id = report.job_id and j.attempt = report.attempt
  and coalesce(j.state in ('queued', 'dispatched', 'running'), false)
returning j.id, j.state
