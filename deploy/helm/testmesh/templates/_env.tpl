{{/* The environment of the containers: settings by name, secrets by reference. */}}

{{/* An environment variable from a Secret: (dict "name" "DATABASE_URL" "secret" "x" "key" "url"). */}}
{{- define "testmesh.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{/* Where PostgreSQL is. `secret` is the chart's own Secret of URLs, which the migration has a copy of. */}}
{{- define "testmesh.databaseEnv" -}}
{{- $database := .root.Values.database -}}
{{- if .root.Values.bundled.postgresql.enabled }}
{{ include "testmesh.secretEnv" (dict "name" "DATABASE_URL" "secret" (printf "%s-postgresql" (include "testmesh.fullname" .root)) "key" "url") }}
{{- else if $database.existingSecret }}
{{ include "testmesh.secretEnv" (dict "name" "DATABASE_URL" "secret" $database.existingSecret "key" $database.existingSecretKey) }}
{{- else if $database.url }}
{{ include "testmesh.secretEnv" (dict "name" "DATABASE_URL" "secret" .secret "key" "database-url") }}
{{- end }}
{{- range $domain := list "flows" "executions" "scheduler" }}
{{- $own := get $database $domain }}
{{- $name := printf "TESTMESH_%s_DATABASE_URL" (upper $domain) }}
{{- if $own.existingSecret }}
{{ include "testmesh.secretEnv" (dict "name" $name "secret" $own.existingSecret "key" $own.existingSecretKey) }}
{{- else if $own.url }}
{{ include "testmesh.secretEnv" (dict "name" $name "secret" $.secret "key" (printf "%s-database-url" $domain)) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where Redis is. */}}
{{- define "testmesh.redisEnv" -}}
{{- $name := include "testmesh.fullname" . -}}
{{- if .Values.bundled.redis.enabled }}
{{ include "testmesh.secretEnv" (dict "name" "REDIS_URL" "secret" (printf "%s-redis" $name) "key" "url") }}
{{- else if .Values.redis.existingSecret }}
{{ include "testmesh.secretEnv" (dict "name" "REDIS_URL" "secret" .Values.redis.existingSecret "key" .Values.redis.existingSecretKey) }}
{{- else if .Values.redis.url }}
{{ include "testmesh.secretEnv" (dict "name" "REDIS_URL" "secret" (printf "%s-urls" $name) "key" "redis-url") }}
{{- end }}
{{- end -}}

{{/* `config` as variables: the name of a flag in camel case is the name of its variable in capitals. */}}
{{- define "testmesh.configEnv" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
- name: TESTMESH_{{ $key | snakecase | upper }}
  value: {{ kindIs "slice" $value | ternary (join "," $value) (toString $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Who listens where, and where the others are. */}}
{{- define "testmesh.rolesEnv" -}}
{{- $name := include "testmesh.fullname" .root -}}
{{- $values := .root.Values -}}
{{- $roles := splitList "," (include "testmesh.roles" .) -}}
{{- $scheme := empty $values.internal.tlsSecret | ternary "http" "https" -}}
- name: TESTMESH_LISTEN
  value: 0.0.0.0:5016
- name: TESTMESH_TOKENS_FILE
  value: /etc/testmesh/tokens/{{ empty $values.auth.existingSecret | ternary "tokens" $values.auth.existingSecretKey }}
{{- if not (include "testmesh.hasDatabase" .root) }}
- name: TESTMESH_DATA_DIR
  value: /var/lib/testmesh
{{- end }}
{{- if $values.metrics.enabled }}
- name: TESTMESH_METRICS_ADDR
  value: 0.0.0.0:{{ $values.metrics.port }}
{{- end }}
{{- if include "testmesh.isSplit" .root }}
- name: TESTMESH_ROLES
  value: {{ join "," $roles }}
- name: TESTMESH_INTERNAL_TOKEN_FILE
  value: /etc/testmesh/internal/{{ empty $values.internal.existingSecret | ternary "token" $values.internal.existingSecretKey }}
{{- if eq .component (include "testmesh.storageComponent" .root) }}
- name: TESTMESH_INTERNAL_LISTEN
  value: 0.0.0.0:5017
{{- end }}
{{- if eq .component "runner" }}
- name: TESTMESH_RUNNER_LISTEN
  value: 0.0.0.0:50051
{{- end }}
{{- if and (not (has "storage" $roles)) (or (has "api" $roles) (has "runner" $roles)) }}
- name: TESTMESH_STORAGE_URL
  value: {{ $scheme }}://{{ $name }}-storage:5016
{{- end }}
{{- if and $values.runner.separate (has "api" $roles) }}
- name: TESTMESH_RUNNER_URL
  value: {{ $scheme }}://{{ $name }}-runner:50051
{{- end }}
{{- if $values.internal.tlsSecret }}
- name: TESTMESH_INTERNAL_CERT_FILE
  value: /etc/testmesh/internal-tls/tls.crt
- name: TESTMESH_INTERNAL_KEY_FILE
  value: /etc/testmesh/internal-tls/tls.key
- name: TESTMESH_INTERNAL_CA_FILE
  value: /etc/testmesh/internal-tls/ca.crt
{{- end }}
{{- end }}
{{- end -}}
