insert into executions.execution_steps (execution_id, ordinal, step_id, phase, status, record)
select r.execution_id, r.ordinal, r.step_id, r.phase, r.status, r.record
from json_to_recordset(cast($1 as json)) as r (
    execution_id uuid, ordinal bigint, step_id text, phase text, status text, record text
)
on conflict (execution_id, ordinal) do nothing
