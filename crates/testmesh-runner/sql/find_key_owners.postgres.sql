select k.key, k.request_hash, k.execution_id
from json_to_recordset(cast($1 as json)) as r (key text)
join executions.idempotency_keys k on k.key = r.key
