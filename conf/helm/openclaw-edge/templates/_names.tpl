{{- define "edge.name" -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- end }}
{{- define "edge.labels" -}}
app.kubernetes.io/name: openclaw-edge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
