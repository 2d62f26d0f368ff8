{{/* The alerts: (dict "root" $ "job" labels that select the release's own series). */}}

{{- define "testmesh.alerts" -}}
{{- $rules := .root.Values.metrics.rules -}}
- alert: TestMeshDown
  expr: absent(up{ {{- .job -}} } == 1)
  for: 5m
  labels:
    severity: critical
  annotations:
    summary: No pod of TestMesh answers.
    description: "Prometheus has reached no pod of {{ .root.Release.Name }} for five minutes. No flow runs, no schedule fires."
    runbook_url: {{ $rules.runbookUrl }}testmeshdown
- alert: TestMeshNotReady
  expr: sum by (namespace, pod) (rate(testmesh_http_requests_total{ {{- .job -}} ,path="/readyz",status="503"}[5m])) > 0
  for: 10m
  labels:
    severity: warning
  annotations:
    summary: A pod of TestMesh is not ready.
    description: "{{ `Pod {{ $labels.pod }} has answered 503 at /readyz for ten minutes: a database is away, or it does not come to an end.` }}"
    runbook_url: {{ $rules.runbookUrl }}testmeshnotready
- alert: TestMeshErrors
  expr: >-
    sum(rate(testmesh_http_requests_total{ {{- .job -}} ,status=~"5..",path!~"/readyz|/health"}[10m]))
    / sum(rate(testmesh_http_requests_total{ {{- .job -}} ,path!~"/readyz|/livez|/health"}[10m])) > {{ $rules.errorRatio }}
  for: 10m
  labels:
    severity: critical
  annotations:
    summary: Requests to TestMesh fail.
    description: "{{ `{{ $value | humanizePercentage }} of the requests of the last ten minutes failed on the server's side.` }}"
    runbook_url: {{ $rules.runbookUrl }}testmesherrors
- alert: TestMeshOverloaded
  expr: sum(rate(testmesh_http_requests_total{ {{- .job -}} ,method="POST",status="503"}[10m])) > 0
  for: 10m
  labels:
    severity: warning
  annotations:
    summary: TestMesh refuses runs.
    description: "The queue of runs is full, or a database is away, and runs are refused with 503."
    runbook_url: {{ $rules.runbookUrl }}testmeshoverloaded
- alert: TestMeshSlow
  expr: >-
    histogram_quantile(0.99, sum by (le)
    (rate(testmesh_http_request_duration_seconds_bucket{ {{- .job -}} ,method="GET",path=~"/api/.*"}[10m]))) > {{ $rules.slowSeconds }}
  for: 15m
  labels:
    severity: warning
  annotations:
    summary: TestMesh answers slowly.
    description: "{{ `One of a hundred reading requests takes longer than {{ $value | humanizeDuration }}.` }}"
    runbook_url: {{ $rules.runbookUrl }}testmeshslow
- alert: TestMeshUnauthorized
  expr: sum(rate(testmesh_http_requests_total{ {{- .job -}} ,status="401"}[10m])) > 1
  for: 15m
  labels:
    severity: warning
  annotations:
    summary: Somebody calls TestMesh without a valid token.
    description: "{{ `{{ $value | humanize }} requests a second carry no token that TestMesh knows.` }}"
    runbook_url: {{ $rules.runbookUrl }}testmeshunauthorized
{{- if and .root.Values.persistence.enabled (not (include "testmesh.hasDatabase" .root)) }}
- alert: TestMeshVolumeFull
  expr: >-
    kubelet_volume_stats_available_bytes{namespace={{ .root.Release.Namespace | quote }},persistentvolumeclaim={{ default (printf "%s-data" (include "testmesh.fullname" .root)) .root.Values.persistence.existingClaim | quote }}}
    / kubelet_volume_stats_capacity_bytes{namespace={{ .root.Release.Namespace | quote }},persistentvolumeclaim={{ default (printf "%s-data" (include "testmesh.fullname" .root)) .root.Values.persistence.existingClaim | quote }}} < 0.1
  for: 15m
  labels:
    severity: critical
  annotations:
    summary: The volume of TestMesh is nearly full.
    description: "Less than a tenth of the volume with the embedded databases is free. Full, every run fails."
    runbook_url: {{ $rules.runbookUrl }}testmeshvolumefull
{{- end }}
{{- end -}}
