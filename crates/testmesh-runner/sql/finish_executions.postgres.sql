-- A final state never changes, and only the session that has the run ends it.
-- By an array of ids: a join alone may be planned, while the table is small, to read all of it for each batch. The list is
-- read once, which is most of what it costs.
-- The state in `coalesce` is for no index, so that the plan is not to read all that is going on.
with finish as materialized (
    select id, status, started_at, finished_at, duration_ms, total_steps, passed_steps, failed_steps,
        skipped_steps, error_code, error_message, trace_id, runner, attempt, session_id
    from json_to_recordset(cast($1 as json)) as finish (
        id uuid, status text, started_at timestamptz, finished_at timestamptz, duration_ms bigint, total_steps bigint,
        passed_steps bigint, failed_steps bigint, skipped_steps bigint, error_code text, error_message text,
        trace_id text, runner text, attempt bigint, session_id uuid
    )
)
update executions.executions as e
set status = finish.status,
    started_at = finish.started_at,
    finished_at = finish.finished_at,
    duration_ms = finish.duration_ms,
    total_steps = finish.total_steps,
    passed_steps = finish.passed_steps,
    failed_steps = finish.failed_steps,
    skipped_steps = finish.skipped_steps,
    error_code = finish.error_code,
    error_message = finish.error_message,
    trace_id = finish.trace_id,
    runner = finish.runner,
    options = null
from finish
where e.id = any (array(select id from finish))
  and e.id = finish.id and e.attempt = finish.attempt and e.session_id = finish.session_id
  and coalesce(e.status in ('queued', 'running'), false)
returning e.id
