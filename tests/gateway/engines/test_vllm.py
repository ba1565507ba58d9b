import sys
from pathlib import Path

from gateway.engines.base import EngineSpec
from gateway.engines.vllm import VllmEngine
from tests.gateway.engines.fakes import make_release


def _engine(*, cpu: bool = True, inherited: dict[str, str] | None = None) -> VllmEngine:
    return VllmEngine(
        max_model_len=2048,
        kv_cache_gib=2,
        stop_timeout_s=30,
        engine_args=["--max-num-seqs", "4"],
        inherited=inherited,
        cpu=cpu,
    )


def _spec(address: str) -> EngineSpec:
    return EngineSpec(make_release("m-1"), "blue", address, Path("/log"))


def _value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_the_command_names_the_release_and_the_address() -> None:
    command = _engine(cpu=False).command(_spec("unix:/run/b.sock"))
    assert command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    assert _value(command, "--model") == "/nowhere"
    assert _value(command, "--served-model-name") == "m-1"
    assert _value(command, "--uds") == "/run/b.sock"
    assert "--port" not in command
    assert command[-2:] == ["--max-num-seqs", "4"]
    assert _value(_engine().command(_spec("http://h:9")), "--port") == "9"


def test_requests_get_less_time_to_drain_than_the_launcher_waits() -> None:
    assert 1 <= int(_value(_engine().command(_spec("unix:/x")), "--shutdown-timeout")) < 30


def test_a_cpu_engine_leaves_cores_to_others_and_keeps_what_the_user_set() -> None:
    spec = _spec("unix:/x")
    found = _engine(inherited={"OMP_NUM_THREADS": "2"}).environment(spec)
    assert "OMP_NUM_THREADS" not in found
    assert found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert found["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert found["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"  # no worker that spins
    assert _engine().environment(spec)["OMP_NUM_THREADS"] == "1"
    assert _engine().command(spec)[:4] == ["nice", "-n", "5", sys.executable]


def test_a_gpu_engine_is_not_told_about_the_cpu() -> None:
    spec = _spec("unix:/x")
    assert set(_engine(cpu=False).environment(spec)) == {
        "VLLM_NO_USAGE_STATS",
        "DO_NOT_TRACK",
        "HF_HUB_OFFLINE",
    }
    assert _value(_engine(cpu=False).command(spec), "--dtype") == "auto"


def test_adapters_are_taken_only_where_they_are_asked_for() -> None:
    spec = _spec("unix:/x")
    assert "--enable-lora" not in _engine().command(spec)
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in _engine().environment(spec)
    taking = VllmEngine(
        max_model_len=2048, kv_cache_gib=1, stop_timeout_s=30, max_lora_rank=64, cpu=True
    )
    assert "--enable-lora" in taking.command(spec)
    assert _value(taking.command(spec), "--max-lora-rank") == "64"
    assert taking.environment(spec)["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"


def test_it_sends_its_own_spans_where_requests_are_traced() -> None:
    spec = _spec("unix:/x")
    assert "--otlp-traces-endpoint" not in _engine().command(spec)
    traced = VllmEngine(
        max_model_len=1, kv_cache_gib=1, stop_timeout_s=9, cpu=True, traces="http://c:4318/"
    )
    assert _value(traced.command(spec), "--otlp-traces-endpoint") == "http://c:4318/v1/traces"
    assert traced.environment(spec)["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"
