insert into executions.execution_events (execution_id, seq_from, seq_to, events)
select r.execution_id, r.seq_from, r.seq_to, r.events
from json_to_recordset(cast($1 as json)) as r (execution_id uuid, seq_from bigint, seq_to bigint, events text)
on conflict (execution_id, seq_from) do nothing
