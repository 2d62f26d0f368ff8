-- $1 and $2 the last item seen, $3 how many.
select id, name, description, variables, revision, created_at, updated_at
from flows.environments
where (created_at, id) < ($1, $2) or cast($1 as text) is null
order by created_at desc, id desc
limit $3
