select id
from executions.executions
where status = 'running'
order by id
