select id, name, description, variables, revision, created_at, updated_at
from flows.environments
where id = $1
