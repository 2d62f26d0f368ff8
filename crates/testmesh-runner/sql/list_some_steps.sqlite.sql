select s.record
from json_each($2) wanted
join executions.execution_steps s on s.execution_id = $1 and s.ordinal = wanted.value
