-- In the order of the hashes, so that two writers never wait for each other.
insert into executions.definitions (hash, text)
select decode(r.hash, 'hex'), r.text
from json_to_recordset(cast($1 as json)) as r (hash text, text text)
order by r.hash
on conflict (hash) do nothing
