delete from flows.environments
where name = $1 and (revision = $2 or cast($2 as bigint) is null)
