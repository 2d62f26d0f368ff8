delete from executions.outbox as o
using json_array_elements_text(cast($1 as json)) as published (seq)
where o.seq = cast(published.seq as bigint)
