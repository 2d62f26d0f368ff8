-- Not sent after all: due again at $2, unless somebody else took them since $3.
update scheduler.jobs
set available_at = $2
where id in (select unhex(value, '-') from json_each($1))
  and state in ('dispatched', 'running') and dispatched_at = $3
