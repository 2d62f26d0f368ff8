-- How many runs of a batch are in each state.
select e.status, count(e.id) as members
from executions.executions e
where e.batch_id = $1
group by e.status
