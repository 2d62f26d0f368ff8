-- What became of attempts of jobs.
select e.job_id, e.attempt, e.id, e.status, e.finished_at, e.error_code, e.error_message
from json_to_recordset(cast($1 as json)) as wanted (job_id uuid, attempt bigint)
join executions.executions e on e.job_id = wanted.job_id and e.attempt = wanted.attempt
where e.job_id is not null
