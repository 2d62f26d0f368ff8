-- Not sent after all: due again at $2, unless somebody else took them since $3.
update scheduler.jobs
set available_at = $2
where id in (select cast(value as uuid) from json_array_elements_text(cast($1 as json)))
  and state in ('dispatched', 'running') and dispatched_at = $3
