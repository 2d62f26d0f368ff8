select revision
from scheduler.schedules
where id = $1
