-- The runs whose events the writer may store: nobody takes them from it before the transaction ends.
select e.id
from json_to_recordset(cast($1 as json)) as held (id uuid, attempt bigint, session_id uuid)
join executions.executions e on e.id = held.id
where e.attempt = held.attempt and e.session_id = held.session_id and e.status = 'running'
for share of e
