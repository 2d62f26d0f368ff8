select k.key, k.request_hash, k.execution_id
from json_each($1) wanted
join executions.idempotency_keys k on k.key = wanted.value ->> 'key'
