-- The environment that the write $1 was the last one to change.
select id, name, description, variables, revision, created_at, updated_at
from flows.environments
where last_write_id = $1
