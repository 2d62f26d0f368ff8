insert into flows.flows (id, name, description, suite, tags, search_text, version, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, 1, $7, $7)
