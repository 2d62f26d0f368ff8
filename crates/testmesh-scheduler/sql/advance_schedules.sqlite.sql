update scheduler.schedules as s
set next_fire_at = fired.value ->> 'next_at'
from json_each($1) as fired
where s.id = unhex(fired.value ->> 'id', '-')
