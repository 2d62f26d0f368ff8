insert into flows.versions (flow_id, version, yaml, created_at)
values ($1, $2, $3, $4)
