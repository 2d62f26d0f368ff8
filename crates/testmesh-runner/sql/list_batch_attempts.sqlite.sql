-- Attempts of jobs that became batches.
select b.id
from json_each($1) wanted
join executions.batches b on b.job_id = unhex(wanted.value ->> 'job_id', '-') and b.attempt = wanted.value ->> 'attempt'
where b.job_id is not null
