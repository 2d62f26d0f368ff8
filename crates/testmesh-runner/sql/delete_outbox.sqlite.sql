delete from executions.outbox
where seq in (select value from json_each($1))
