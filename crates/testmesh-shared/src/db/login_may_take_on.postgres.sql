select pg_has_role($1, $2, 'member')
