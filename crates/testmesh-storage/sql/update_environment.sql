update flows.environments
set name = $2, description = $3, variables = $4, updated_at = $5, revision = revision + 1
where name = $1 and (revision = $6 or cast($6 as bigint) is null)
returning id, revision, created_at
