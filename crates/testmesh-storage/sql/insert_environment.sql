insert into flows.environments (id, name, description, variables, revision, created_at, updated_at)
values ($1, $2, $3, $4, 1, $5, $5)
