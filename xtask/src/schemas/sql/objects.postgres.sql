-- Everything in schema $1, one line each, so that two databases can be compared as texts.
with tables as (
    select c.oid, c.relname, c.relkind
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1
      and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
      and c.relname not like '\_sqlx\_migrations%'
)
select t.relname::text as owner,
    case t.relkind
        when 'v' then 'view'
        when 'm' then 'materialized view'
        when 'f' then 'foreign table'
        when 'S' then 'sequence'
        else 'table'
    end as kind,
    t.relname::text as definition
from tables t
union all
select t.relname,
    'column',
    a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
        || case when a.attnotnull then ' not null' else '' end
        || coalesce(' default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')
        || case a.attidentity when '' then '' else ' identity ' || a.attidentity::text end
from tables t
join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where t.relkind in ('r', 'p')
union all
select t.relname, 'constraint', k.conname || ' ' || pg_catalog.pg_get_constraintdef(k.oid)
from tables t
join pg_catalog.pg_constraint k on k.conrelid = t.oid and k.contype <> 'n'
union all
select t.relname, 'index', pg_catalog.pg_get_indexdef(i.indexrelid)
from tables t
join pg_catalog.pg_index i on i.indrelid = t.oid
union all
select t.relname, 'trigger', pg_catalog.pg_get_triggerdef(g.oid)
from tables t
join pg_catalog.pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
union all
select t.relname, 'rule', r.rulename::text
from tables t
join pg_catalog.pg_rewrite r on r.ev_class = t.oid and t.relkind in ('r', 'p')
union all
select p.proname, 'function', pg_catalog.pg_get_function_identity_arguments(p.oid)
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = $1
