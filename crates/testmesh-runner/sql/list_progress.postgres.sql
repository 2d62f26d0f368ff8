-- How far runs have come that another process has.
select e.id, e.status,
       coalesce((select max(v.seq_to) from executions.execution_events v where v.execution_id = e.id), 1) as seq
from json_array_elements_text(cast($1 as json)) as wanted (id)
join executions.executions e on e.id = cast(wanted.id as uuid)
