"""The container files, read."""

from pathlib import Path
from typing import Any

import yaml

from gateway.settings import Settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
ONCE = {"migrate", "pull-model", "pull-embedder"}
ENGINES = {"engine-cpu", "engine-gpu"}
WORKERS = {"worker-cpu", "worker-gpu"}
