-- Whose the key is, unless it was taken before $2.
select key, request_hash, execution_id
from executions.idempotency_keys
where key = $1 and created_at >= $2
