-- By an array of ids: a join alone may be planned, while the table is small, to read all of it for each batch.
update scheduler.schedules as s
set next_fire_at = fired.next_at
from json_to_recordset(cast($1 as json)) as fired (id uuid, next_at timestamptz)
where s.id = any (array(select w.id from json_to_recordset(cast($1 as json)) as w (id uuid)))
  and s.id = fired.id
