select f.id, f.name, f.description, f.suite, f.tags, f.version, f.created_at, f.updated_at, v.yaml
from flows.flows f
join flows.versions v on v.flow_id = f.id and v.version = f.version
where f.name = $1 and f.deleted_at is null
