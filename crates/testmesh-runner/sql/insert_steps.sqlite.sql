insert into executions.execution_steps (execution_id, ordinal, step_id, phase, status, record)
select unhex(value ->> 'execution_id', '-'), value ->> 'ordinal', value ->> 'step_id', value ->> 'phase',
       value ->> 'status', value ->> 'record'
from json_each($1)
where true
on conflict (execution_id, ordinal) do nothing
