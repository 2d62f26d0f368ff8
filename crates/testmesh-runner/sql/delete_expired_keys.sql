delete from executions.idempotency_keys
where created_at < $1
