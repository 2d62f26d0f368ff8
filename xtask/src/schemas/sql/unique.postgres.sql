-- The unique indexes of schema $1, their columns in order.
select c.relname as table_name,
    i.indisprimary as is_primary,
    i.indpred is not null as is_partial,
    array(
        select coalesce(a.attname::text, '(expression)')
        from unnest(i.indkey) with ordinality as part (attnum, place)
        left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = part.attnum and part.attnum > 0
        order by part.place
    ) as columns
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and i.indisunique and c.relname <> '_sqlx_migrations'
