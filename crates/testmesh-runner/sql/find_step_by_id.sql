select record
from executions.execution_steps
where execution_id = $1 and step_id = $2
order by case phase when 'main' then 0 when 'setup' then 1 else 2 end, ordinal
limit 1
