-- Which write made a version or an environment what it is, so that a repeated write is known again.

alter table flows.versions add column write_id blob check (length(write_id) = 16);
create unique index flows.versions_write on versions (flow_id, write_id);

alter table flows.environments add column last_write_id blob check (length(last_write_id) = 16);
