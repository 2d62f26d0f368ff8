{{/* Names, labels, and which parts there are. */}}

{{- define "testmesh.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of one component: (dict "root" $ "component" "server"). Never changes in a release. */}}
{{- define "testmesh.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "testmesh.labels" -}}
{{ include "testmesh.selector" . }}
app.kubernetes.io/part-of: testmesh
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "testmesh.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "testmesh.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "testmesh.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The components that have a Deployment, in words. */}}
{{- define "testmesh.components" -}}
server
{{- range list "scheduler" "runner" "storage" }}{{ if (get $.Values .).separate }} {{ . }}{{ end }}{{ end -}}
{{- end -}}

{{/* The roles of one component, separated by commas: (dict "root" $ "component" "server"). */}}
{{- define "testmesh.roles" -}}
{{- if eq .component "server" -}}
api
{{- range list "scheduler" "runner" "storage" }}{{ if not (get $.root.Values .).separate }},{{ . }}{{ end }}{{ end -}}
{{- else -}}
{{- .component -}}
{{- end -}}
{{- end -}}

{{/* Whether any role has a Deployment of its own: "true" or nothing. */}}
{{- define "testmesh.isSplit" -}}
{{- if ne (include "testmesh.components" .) "server" -}}true{{- end -}}
{{- end -}}

{{/* The component whose pods serve the storage to others; nothing when nobody asks: flows are run where they are kept. */}}
{{- define "testmesh.storageComponent" -}}
{{- if .Values.storage.separate -}}storage{{- else if .Values.runner.separate -}}server{{- end -}}
{{- end -}}

{{/* Whether PostgreSQL is used: "true" or nothing. */}}
{{- define "testmesh.hasDatabase" -}}
{{- $database := .Values.database -}}
{{- if or .Values.bundled.postgresql.enabled $database.url $database.existingSecret -}}
true
{{- else -}}
{{- $own := list -}}
{{- range list "flows" "executions" "scheduler" -}}
{{- $one := get $database . -}}
{{- if or $one.url $one.existingSecret -}}{{- $own = append $own . -}}{{- end -}}
{{- end -}}
{{- if eq (len $own) 3 -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether Redis is used: "true" or nothing. */}}
{{- define "testmesh.hasRedis" -}}
{{- if or .Values.bundled.redis.enabled .Values.redis.url .Values.redis.existingSecret -}}true{{- end -}}
{{- end -}}

{{/* How many pods of a component there can be: (dict "root" $ "component" "server"). */}}
{{- define "testmesh.mostReplicas" -}}
{{- $values := get .root.Values .component -}}
{{- $scaled := ternary "runner" "server" .root.Values.runner.separate -}}
{{- if and .root.Values.keda.enabled (eq .component $scaled) -}}
{{- .root.Values.keda.maxReplicas -}}
{{- else if $values.autoscaling.enabled -}}
{{- $values.autoscaling.maxReplicas -}}
{{- else -}}
{{- $values.replicas -}}
{{- end -}}
{{- end -}}

{{/* The settings of a component as JSON: `config` and its own over it. */}}
{{- define "testmesh.config" -}}
{{- $own := (get .root.Values .component).config -}}
{{- mergeOverwrite (deepCopy .root.Values.config) (deepCopy $own) | toJson -}}
{{- end -}}
