select v.version, v.yaml, v.created_at
from flows.flows f
join flows.versions v on v.flow_id = f.id
where f.id = $1 and f.deleted_at is null
order by v.version desc
