-- What became of attempts of jobs. By an array of jobs: a join alone may be planned, while the table is small, to read all of it for each batch.
select e.job_id, e.attempt, e.id, e.status, e.finished_at, e.error_code, e.error_message
from json_to_recordset(cast($1 as json)) as wanted (job_id uuid, attempt bigint)
join executions.executions e on e.job_id = wanted.job_id and e.attempt = wanted.attempt
where e.job_id is not null
  and e.job_id = any (array(select w.job_id from json_to_recordset(cast($1 as json)) as w (job_id uuid)))
