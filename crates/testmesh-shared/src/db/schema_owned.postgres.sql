select pg_get_userbyid(nspowner) = $2
from pg_catalog.pg_namespace
where nspname = $1
