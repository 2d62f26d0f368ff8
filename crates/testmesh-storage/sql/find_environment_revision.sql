select revision
from flows.environments
where name = $1
