insert into executions.outbox (topic, payload, created_at)
select value ->> 'topic', value ->> 'payload', value ->> 'created_at'
from json_each($1)
returning seq, payload
