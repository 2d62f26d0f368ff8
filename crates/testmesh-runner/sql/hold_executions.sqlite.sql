-- The runs whose events the writer may store.
select e.id
from json_each($1) held
join executions.executions e on e.id = unhex(held.value ->> 'id', '-')
where e.attempt = held.value ->> 'attempt' and e.session_id = unhex(held.value ->> 'session_id', '-') and e.status = 'running'
