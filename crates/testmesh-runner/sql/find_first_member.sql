select e.id
from executions.executions e
where e.batch_id = $1
order by e.batch_row
limit 1
