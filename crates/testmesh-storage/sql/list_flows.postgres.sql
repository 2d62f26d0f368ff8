-- $1 part of name or description in lower case, $2 suite, $3 JSON list of tags that must all be there,
-- $4 and $5 the last item seen, $6 how many.
select f.id, f.name, f.description, f.suite, f.tags, f.version, f.created_at, f.updated_at
from flows.flows f
where f.deleted_at is null
  and (strpos(f.search_text, $1) > 0 or cast($1 as text) is null)
  and (f.suite = $2 or cast($2 as text) is null)
  and cast(f.tags as jsonb) @> cast(cast($3 as text) as jsonb)
  and ((f.created_at, f.id) < ($4, $5) or cast($4 as text) is null)
order by f.created_at desc, f.id desc
limit $6
