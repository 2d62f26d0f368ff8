delete from flows.environments
where name = $1 and (cast($2 as bigint) is null or revision = $2)
