select s.record
from json_array_elements_text(cast($2 as json)) as wanted (ordinal)
join executions.execution_steps s on s.execution_id = $1 and s.ordinal = cast(wanted.ordinal as bigint)
