select record
from executions.execution_steps
where execution_id = $1
order by ordinal
