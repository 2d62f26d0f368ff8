-- Takes each key of the batch that is free, or was taken before $2.
insert into executions.idempotency_keys (key, request_hash, execution_id, created_at)
select value ->> 'key', value ->> 'request_hash', unhex(value ->> 'execution_id', '-'), value ->> 'created_at'
from json_each($1)
where true
on conflict (key) do update
set request_hash = excluded.request_hash, execution_id = excluded.execution_id, created_at = excluded.created_at
where idempotency_keys.created_at < $2
