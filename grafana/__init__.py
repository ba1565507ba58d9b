"""Grafana's dashboards, as code; `grafana/dashboards` holds what it builds."""
