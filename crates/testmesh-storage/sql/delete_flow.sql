update flows.flows
set deleted_at = $2
where id = $1 and deleted_at is null and (version = $3 or cast($3 as bigint) is null)
