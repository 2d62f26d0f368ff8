-- The oldest messages that have waited since before $1.
select seq, payload
from executions.outbox
where created_at < $1
order by seq
limit $2
