select seq_to, events
from executions.execution_events
where execution_id = $1 and seq_to > $2
order by seq_from
limit $3
