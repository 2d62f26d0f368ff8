-- The runs whose events the writer may store: nobody takes them from it before the transaction ends.
-- By an array of ids: a join alone may be planned, while the table is small, to read all of it for each batch.
-- The state in `coalesce` is for no index, so that the plan is not to read all that is going on.
select e.id
from json_to_recordset(cast($1 as json)) as held (id uuid, attempt bigint, session_id uuid)
join executions.executions e on e.id = held.id
where e.id = any (array(select w.id from json_to_recordset(cast($1 as json)) as w (id uuid)))
  and e.attempt = held.attempt and e.session_id = held.session_id
  and coalesce(e.status = 'running', false)
for share of e
