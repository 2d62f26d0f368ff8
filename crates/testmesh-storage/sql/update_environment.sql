-- $7: this write. When it was the last one already, nothing happens.
update flows.environments
set name = $2, description = $3, variables = $4, updated_at = $5, last_write_id = $7, revision = revision + 1
where name = $1
  and (revision = $6 or cast($6 as bigint) is null)
  and (last_write_id <> $7 or last_write_id is null)
returning id, revision, created_at
