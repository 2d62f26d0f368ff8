update flows.environments
set name = $2, description = $3, variables = $4, updated_at = $5, revision = revision + 1
where name = $1 and (cast($6 as bigint) is null or revision = $6)
returning id, revision, created_at
