-- How far runs have come that another process has.
select e.id, e.status,
       coalesce((select max(v.seq_to) from executions.execution_events v where v.execution_id = e.id), 1) as seq
from json_each($1) wanted
join executions.executions e on e.id = unhex(wanted.value, '-')
