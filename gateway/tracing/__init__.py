"""OpenTelemetry spans of answered requests, off by default: context, spans, exporter."""
