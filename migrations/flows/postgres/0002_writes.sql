-- Which write made a version or an environment what it is, so that a repeated write is known again.

alter table flows.versions add column write_id uuid;
create unique index versions_write on flows.versions (flow_id, write_id);

alter table flows.environments add column last_write_id uuid;
