-- The next version, if the newest one is $8 (or whichever it is, when $8 is null).
update flows.flows
set name = $2, description = $3, suite = $4, tags = $5, search_text = $6, updated_at = $7, version = version + 1
where id = $1 and deleted_at is null and (version = $8 or cast($8 as bigint) is null)
returning version, created_at
