-- Not sent after all: due again at $2, not at $3, unless somebody took them or told of them since.
update scheduler.jobs
set available_at = $2
where id in (select unhex(value, '-') from json_each($1))
  and state in ('dispatched', 'running') and available_at = $3
