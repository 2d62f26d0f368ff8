-- $5: the write that it comes from; null for a flow's first version, whose own id is enough.
insert into flows.versions (flow_id, version, yaml, created_at, write_id)
values ($1, $2, $3, $4, $5)
