update scheduler.schedules as s
set next_fire_at = fired.next_at
from json_to_recordset(cast($1 as json)) as fired (id uuid, next_at timestamptz)
where s.id = fired.id
