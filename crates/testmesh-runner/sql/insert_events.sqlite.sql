insert into executions.execution_events (execution_id, seq_from, seq_to, events)
select unhex(value ->> 'execution_id', '-'), value ->> 'seq_from', value ->> 'seq_to', value ->> 'events'
from json_each($1)
where true
on conflict (execution_id, seq_from) do nothing
