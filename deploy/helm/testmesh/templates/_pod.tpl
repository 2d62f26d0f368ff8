{{/* What all pods and containers have in common, and the pod of a component. */}}

{{/* Of every pod, those of hooks and tests included. */}}
{{- define "testmesh.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.podSecurity }}
{{- if not (kindIs "invalid" .runAsUser) }}
runAsUser: {{ .runAsUser }}
{{- end }}
{{- if not (kindIs "invalid" .runAsGroup) }}
runAsGroup: {{ .runAsGroup }}
{{- end }}
{{- if not (kindIs "invalid" .fsGroup) }}
fsGroup: {{ .fsGroup }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Of every container. */}}
{{- define "testmesh.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- end -}}

{{/* Where pods run: (dict "root" $ "values" the component's). */}}
{{- define "testmesh.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $.values $key | default (get $.root.Values $key) }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .values.priorityClassName | default .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Seconds between the request to stop and the end. */}}
{{- define "testmesh.gracePeriod" -}}
{{- $config := include "testmesh.config" . | fromJson -}}
{{- $drain := kindIs "invalid" $config.drainTimeout | ternary 60 $config.drainTimeout | int -}}
{{- $termination := .root.Values.termination -}}
{{- add $termination.preStopSeconds $drain $termination.teardownSeconds $termination.marginSeconds -}}
{{- end -}}

{{- define "testmesh.pod" -}}
{{- $root := .root -}}
{{- $values := get $root.Values .component -}}
{{- $name := include "testmesh.fullname" $root -}}
{{- $selector := include "testmesh.selector" . -}}
{{- $split := include "testmesh.isSplit" $root -}}
{{- $embedded := not (include "testmesh.hasDatabase" $root) -}}
metadata:
  labels:
    {{- include "testmesh.labels" . | nindent 4 }}
    {{- with $root.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: testmesh
    # A changed secret of the chart starts the pods again; tokens are read again without.
    checksum/urls: {{ toJson (list $root.Values.database $root.Values.redis) | sha256sum | trunc 16 | quote }}
    {{- with merge (dict) $values.podAnnotations $root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "testmesh.serviceAccountName" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "testmesh.gracePeriod" . }}
  securityContext:
    {{- include "testmesh.podSecurity" $root | nindent 4 }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "testmesh.placement" (dict "root" $root "values" $values) | nindent 2 }}
  {{- with $root.Values.topologySpread }}
  topologySpreadConstraints:
    {{- range . }}
    - {{- toYaml . | nindent 6 }}
      labelSelector:
        matchLabels:
          {{- $selector | nindent 10 }}
    {{- end }}
  {{- end }}
  containers:
    - name: testmesh
      image: {{ include "testmesh.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      securityContext:
        {{- include "testmesh.containerSecurity" $root | nindent 8 }}
      env:
        {{- include "testmesh.rolesEnv" . | nindent 8 }}
        {{- include "testmesh.databaseEnv" (dict "root" $root "secret" (printf "%s-urls" $name)) | nindent 8 }}
        {{- include "testmesh.redisEnv" $root | nindent 8 }}
        {{- include "testmesh.configEnv" (include "testmesh.config" . | fromJson) | nindent 8 }}
        {{- with concat $root.Values.extraEnv $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $root.Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- include "testmesh.ports" . | nindent 6 }}
      {{- include "testmesh.probes" $root | nindent 6 }}
      {{- if and (gt (int $root.Values.termination.preStopSeconds) 0) (semverCompare ">=1.30.0-0" $root.Capabilities.KubeVersion.Version) }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ $root.Values.termination.preStopSeconds }}
      {{- end }}
      {{- with $values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: tokens
          mountPath: /etc/testmesh/tokens
          readOnly: true
        {{- if $split }}
        - name: internal
          mountPath: /etc/testmesh/internal
          readOnly: true
        {{- if $root.Values.internal.tlsSecret }}
        - name: internal-tls
          mountPath: /etc/testmesh/internal-tls
          readOnly: true
        {{- end }}
        {{- end }}
        {{- if $embedded }}
        - name: data
          mountPath: /var/lib/testmesh
        {{- end }}
        {{- with $root.Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: tokens
      secret:
        secretName: {{ default (printf "%s-tokens" $name) $root.Values.auth.existingSecret }}
        defaultMode: 0440
    {{- if $split }}
    - name: internal
      secret:
        secretName: {{ default (printf "%s-internal" $name) $root.Values.internal.existingSecret }}
        defaultMode: 0440
    {{- with $root.Values.internal.tlsSecret }}
    - name: internal-tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- end }}
    {{- if $embedded }}
    - name: data
      {{- if $root.Values.persistence.enabled }}
      persistentVolumeClaim:
        claimName: {{ default (printf "%s-data" $name) $root.Values.persistence.existingClaim }}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
    {{- with $root.Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "testmesh.ports" -}}
ports:
  - name: http
    containerPort: 5016
  {{- if eq .component (include "testmesh.storageComponent" .root) }}
  - name: internal
    containerPort: 5017
  {{- end }}
  {{- if eq .component "runner" }}
  - name: grpc
    containerPort: 50051
  {{- end }}
  {{- if .root.Values.metrics.enabled }}
  - name: metrics
    containerPort: {{ .root.Values.metrics.port }}
  {{- end }}
{{- end -}}

{{- define "testmesh.probes" -}}
{{- $probes := .Values.probes -}}
startupProbe:
  httpGet:
    path: /livez
    port: http
  periodSeconds: {{ $probes.startup.periodSeconds }}
  failureThreshold: {{ $probes.startup.failureThreshold }}
livenessProbe:
  httpGet:
    path: /livez
    port: http
  {{- toYaml $probes.liveness | nindent 2 }}
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  {{- toYaml $probes.readiness | nindent 2 }}
{{- end -}}
