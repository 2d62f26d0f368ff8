{{/* What cannot work, said before anything is installed. */}}

{{- define "testmesh.refusals" -}}
{{- $database := include "testmesh.hasDatabase" . -}}
{{- if not $database -}}
{{- range list "flows" "executions" "scheduler" -}}
{{- $one := get $.Values.database . -}}
{{- if or $one.url $one.existingSecret -}}
{{- fail (printf "database.%s is given, and the other domains have no database: give `database.url` too" .) -}}
{{- end -}}
{{- end -}}
{{- if include "testmesh.isSplit" . -}}
{{- fail "a role can be separate only with PostgreSQL: give `database.url` or `database.existingSecret`" -}}
{{- end -}}
{{- if include "testmesh.hasRedis" . -}}
{{- fail "Redis carries jobs between processes that share a PostgreSQL: give `database.url` or `database.existingSecret` too" -}}
{{- end -}}
{{- if gt (int (include "testmesh.mostReplicas" (dict "root" . "component" "server"))) 1 -}}
{{- fail "the embedded databases serve one pod: give `database.url` or `database.existingSecret`, or set `server.replicas` to 1" -}}
{{- end -}}
{{- end -}}
{{- if and (or .Values.scheduler.separate .Values.runner.separate) (not (include "testmesh.hasRedis" .)) -}}
{{- fail "a scheduler and runners in pods of their own meet on Redis: give `redis.url` or `redis.existingSecret`" -}}
{{- end -}}
{{- if and .Values.bundled.postgresql.enabled (or .Values.database.url .Values.database.existingSecret) -}}
{{- fail "`bundled.postgresql.enabled` and `database` are both given: choose one" -}}
{{- end -}}
{{- if and .Values.bundled.redis.enabled (or .Values.redis.url .Values.redis.existingSecret) -}}
{{- fail "`bundled.redis.enabled` and `redis` are both given: choose one" -}}
{{- end -}}
{{- if .Values.keda.enabled -}}
{{- $scaled := ternary "runner" "server" .Values.runner.separate -}}
{{- if (get .Values $scaled).autoscaling.enabled -}}
{{- fail (printf "`keda.enabled` and `%s.autoscaling.enabled` would both set the number of pods: choose one" $scaled) -}}
{{- end -}}
{{- if not (include "testmesh.hasRedis" .) -}}
{{- fail "`keda.enabled` scales by the jobs that wait in Redis: give `redis.url` or `redis.existingSecret`" -}}
{{- end -}}
{{- if and .Values.redis.existingSecret (not .Values.keda.redisAddress) -}}
{{- fail "`keda.redisAddress` is needed: KEDA cannot read the address from the URL in `redis.existingSecret`" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) -}}
{{- fail "`gateway.parentRefs` is empty: an HTTPRoute belongs to at least one gateway" -}}
{{- end -}}
{{- if not (or .Values.auth.existingSecret .Values.auth.tokens .Values.auth.generateAdminToken) -}}
{{- fail "nobody could call the API: give `auth.existingSecret` or `auth.tokens`, or leave `auth.generateAdminToken` on" -}}
{{- end -}}
{{- end -}}
