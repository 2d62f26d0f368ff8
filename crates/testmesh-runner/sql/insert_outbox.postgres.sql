insert into executions.outbox (topic, payload, created_at)
select r.topic, r.payload, r.created_at
from json_to_recordset(cast($1 as json)) as r (topic text, payload text, created_at timestamptz)
returning seq, payload
