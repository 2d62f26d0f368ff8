-- What became of attempts of jobs.
select e.job_id, e.attempt, e.id, e.status, e.finished_at, e.error_code, e.error_message
from json_each($1) wanted
join executions.executions e on e.job_id = unhex(wanted.value ->> 'job_id', '-') and e.attempt = wanted.value ->> 'attempt'
where e.job_id is not null
