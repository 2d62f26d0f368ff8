select cancel_requested
from executions.executions
where id = $1
