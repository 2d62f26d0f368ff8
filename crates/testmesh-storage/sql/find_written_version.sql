-- What the write $2 made of the flow $1, when it was carried out before.
select v.version, v.created_at, f.created_at
from flows.versions v
join flows.flows f on f.id = v.flow_id
where v.flow_id = $1 and v.write_id = $2
