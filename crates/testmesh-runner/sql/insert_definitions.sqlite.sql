insert into executions.definitions (hash, text)
select unhex(value ->> 'hash'), value ->> 'text'
from json_each($1)
where true
on conflict (hash) do nothing
