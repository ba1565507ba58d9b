"""vLLM as an engine: its command line and environment. Checked against vLLM 0.32.

Only the installed build decides between CPU and GPU; vLLM itself is never imported here.
Options: https://docs.vllm.ai/en/latest/cli/serve/, variables:
https://docs.vllm.ai/en/latest/configuration/env_vars/.
"""

import importlib.metadata
import sys
from collections.abc import Mapping, Sequence

from gateway.engines.base import EngineSpec, listen_arguments

# vLLM drains for this much less than the launcher waits, so that it also has time to end.
_EXIT_MARGIN_S = 3
# A CPU engine takes every core for as long as it answers. The gateway and the retrieval service
# need them for milliseconds, within a deadline; the trainer (nice(10)) comes last.
_BEHIND = ["nice", "-n", "5"]
# What a user may set otherwise, on a CPU.
_CPU_DEFAULTS = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    # The model runs in the engine's core, not in a process of its own: one import of torch less to
    # start, and no worker that spins on its queue while nothing is asked. vLLM wants that process
    # to bind its threads, which is not done here.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}


class VllmEngine:
    """One vLLM server per release, with the release's id as its model name.

    Args:
        max_model_len: Longest context in tokens.
        kv_cache_gib: KV cache of a CPU engine in GiB; a GPU engine sizes its own.
        stop_timeout_s: Time that requests get to finish on a stop.
        max_lora_rank: Highest rank of the adapters that it may be given while it runs; None: none.
        traces: Collector that the engine sends its own spans to, by OTLP over HTTP; empty: none.
        engine_args: Further arguments, already split; they come last and win.
        inherited: The environment of the launcher; OpenMP settings found there are kept.
        cpu: Whether the installed vLLM is a CPU build, see `is_cpu_build`.
    """

    def __init__(
        self,
        *,
        max_model_len: int,
        kv_cache_gib: int,
        stop_timeout_s: float,
        max_lora_rank: int | None = None,
        traces: str = "",
        engine_args: Sequence[str] = (),
        inherited: Mapping[str, str] | None = None,
        cpu: bool,
    ) -> None:
        self._max_model_len = max_model_len
        self._kv_cache_gib = kv_cache_gib
        self._drain_s = max(1, int(stop_timeout_s) - _EXIT_MARGIN_S)
        self._max_lora_rank = max_lora_rank
        self._traces = (
            f"{traces.rstrip('/').removesuffix('/v1/traces')}/v1/traces" if traces else ""
        )
        self._engine_args = list(engine_args)
        self._inherited = inherited or {}
        self._cpu = cpu

    def command(self, spec: EngineSpec) -> list[str]:
        # The `vllm` program of the CPU build fails on its own version look-up; the module works.
        return [
            *(_BEHIND if self._cpu else []),
            sys.executable,
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            spec.release.path,
            "--served-model-name",
            spec.release.id,
            *listen_arguments(spec.address),
            "--max-model-len",
            str(self._max_model_len),
            # bfloat16 kernels differ from CPU to CPU, enough to flip a small model's near ties;
            # float32 gives what transformers gives (ARCHITECTURE.md, decision 14).
            "--dtype",
            "float32" if self._cpu else "auto",
            # Compiling takes a CPU a minute at each first start and gains a tenth in speed.
            *(["--enforce-eager"] if self._cpu else []),
            "--shutdown-timeout",
            str(self._drain_s),
            "--generation-config",
            "auto",
            "--enable-auto-tool-choice",
            "--tool-call-parser",
            "hermes",
            "--enable-prompt-tokens-details",
            "--enable-request-id-headers",
            "--disable-uvicorn-access-log",
            "--disable-fastapi-docs",
            *self._lora_arguments(),
            *(["--otlp-traces-endpoint", self._traces] if self._traces else []),
            *self._engine_args,
        ]

    def _lora_arguments(self) -> list[str]:
        if self._max_lora_rank is None:
            return []
        return ["--enable-lora", "--max-lora-rank", str(self._max_lora_rank)]

    def environment(self, spec: EngineSpec) -> dict[str, str]:
        variables = {
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",  # a release is a folder; nothing is fetched while it serves
        }
        if self._max_lora_rank is not None:
            # Opens the routes that load adapters; only the launcher reaches the engine's socket.
            variables["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        if self._traces:
            variables |= {
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
                "OTEL_SERVICE_NAME": "vllm",
            }
        if self._cpu:
            variables |= {
                "VLLM_CPU_KVCACHE_SPACE": str(self._kv_cache_gib),
                # Two engines and a trainer share the cores: pinning and spinning OpenMP threads
                # would starve each other.
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            }
            for name, value in _CPU_DEFAULTS.items():
                if name not in self._inherited:
                    variables[name] = value
        return variables


def is_cpu_build() -> bool:
    """Return whether the installed vLLM runs on the CPU; False where there is none."""
    names = {"vllm-cpu", "vllm"}
    for name in sorted(names):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name == "vllm-cpu" or "cpu" in version
    return False
