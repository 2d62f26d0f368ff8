select version
from flows.flows
where id = $1 and deleted_at is null
