update flows.flows
set deleted_at = $2
where id = $1 and deleted_at is null and (cast($3 as bigint) is null or version = $3)
