-- The relations of schema $2 that the owner of schema $1 may use, and that owner. Rights on the schema itself come first.
select pg_catalog.pg_get_userbyid(mine.nspowner)::text as owner, reachable.name as name
from pg_catalog.pg_namespace mine
join pg_catalog.pg_namespace theirs on theirs.nspname = $2
cross join lateral (
    select theirs.nspname::text as name
    where pg_catalog.has_schema_privilege(mine.nspowner, theirs.oid, 'usage')
    union all
    select theirs.nspname || '.' || c.relname
    from pg_catalog.pg_class c
    where c.relnamespace = theirs.oid
      and c.relkind in ('r', 'p', 'v', 'm')
      and pg_catalog.has_table_privilege(mine.nspowner, c.oid, 'select, insert, update, delete')
) reachable
where mine.nspname = $1
