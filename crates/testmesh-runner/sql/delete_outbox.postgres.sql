-- By an array: the table is empty most of the time, and a join would be planned for that.
delete from executions.outbox
where seq = any (array(select cast(value as bigint) from json_array_elements_text(cast($1 as json))))
