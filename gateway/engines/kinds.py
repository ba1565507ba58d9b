"""Builds this host's launcher from the settings."""

import os
import shlex
import socket
from collections.abc import Callable

from gateway.engines.base import EngineKind, engine_addresses
from gateway.engines.echo import EchoEngine
from gateway.engines.launcher import Launcher
from gateway.engines.process import Timing
from gateway.engines.vllm import VllmEngine, is_cpu_build
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.engines import Engine, Engines
from gateway.store.releases import Releases


def build_launcher(
    settings: Settings, database: Database, on_change: Callable[[Engine], None] | None = None
) -> Launcher:
    """Return the launcher that the settings describe; it does nothing until it runs."""
    run_dir = settings.run_dir()
    return Launcher(
        Releases(database),
        Engines(database),
        build_kind(settings),
        host=settings.engine_host or socket.gethostname(),
        run_dir=run_dir,
        addresses=engine_addresses(run_dir, settings.engine_host, settings.engine_port),
        logs=settings.home.absolute() / "logs",
        environment=os.environ,
        timing=Timing(
            start_timeout=settings.engine_start_timeout_s,
            stop_timeout=settings.engine_stop_timeout_s,
        ),
        slots=settings.slots,
        on_change=on_change,
    )


def build_kind(settings: Settings) -> EngineKind:
    """Return what starts an engine: vLLM, or the stub."""
    if settings.engine == "echo":
        return EchoEngine()
    return VllmEngine(
        max_model_len=settings.max_model_len,
        kv_cache_gib=settings.kv_cache_gib,
        stop_timeout_s=settings.engine_stop_timeout_s,
        max_lora_rank=settings.max_lora_rank if settings.slots == 1 else None,
        traces=settings.tracing_endpoint,
        engine_args=shlex.split(settings.engine_args),
        inherited=os.environ,
        cpu=is_cpu_build(),
    )
