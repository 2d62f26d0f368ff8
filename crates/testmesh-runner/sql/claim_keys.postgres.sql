-- Takes each key of the batch that is free, or was taken before $2. In the order of the keys, so that two writers
-- never wait for each other.
insert into executions.idempotency_keys (key, request_hash, execution_id, created_at)
select r.key, r.request_hash, r.execution_id, r.created_at
from json_to_recordset(cast($1 as json)) as r (key text, request_hash text, execution_id uuid, created_at timestamptz)
order by r.key
on conflict (key) do update
set request_hash = excluded.request_hash, execution_id = excluded.execution_id, created_at = excluded.created_at
where idempotency_keys.created_at < $2
