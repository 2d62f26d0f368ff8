-- Attempts of jobs that became batches.
select b.id
from json_to_recordset(cast($1 as json)) as wanted (job_id uuid, attempt bigint)
join executions.batches b on b.job_id = wanted.job_id and b.attempt = wanted.attempt
where b.job_id is not null
