import pytest

from training.catalog import entries
from training.planner.architecture import Architecture
from training.planner.devices import device
from training.planner.memory import Method, Run
from training.planner.throughput import Work, operations, price, tokens_per_second

_LLAMA = entries()["llama-3.1-8b"].shape
# Qwen-7B with LoRA on one A100, batch 1, seconds of 8 steps: see test_memory.
_QWEN = Architecture("qwen2", 32, 4096, 32, 32, 128, 11008, 151936, 8192, qkv_bias=True)
_PUBLISHED = {256: 1.2, 512: 1.5, 1024: 2.8, 2048: 5.2, 4096: 10.1, 8192: 21.3}


@pytest.mark.parametrize(("tokens", "seconds"), _PUBLISHED.items())
def test_published_speeds_are_met(tokens: int, seconds: float) -> None:
    run = Run(Method.LORA, 1, tokens, rank=64, padded=False)
    speed = tokens_per_second(_QWEN, run, device("a100"))
    assert 8 * tokens / speed == pytest.approx(seconds, rel=0.25)


@pytest.mark.parametrize(
    ("method", "checkpointing", "passes"),
    [
        (Method.FULL, False, 6),
        (Method.FULL, True, 8),
        (Method.LORA, False, 4),
        (Method.LORA, True, 6),
    ],
)
def test_operations_of_a_weight(method: Method, checkpointing: bool, passes: int) -> None:
    run = Run(method, tokens=8, checkpointing=checkpointing, rank=1)
    each = operations(_LLAMA, run) / _LLAMA.multiplied_parameters
    # The head is not computed again, and adapters come on top.
    assert each == pytest.approx(passes, rel=0.03)


def test_long_sequences_cost_attention() -> None:
    short, long = (operations(_LLAMA, Run(Method.LORA, tokens=n)) for n in (128, 32768))
    assert long > 1.5 * short


def test_quantisation_costs_time_where_a_step_is_small() -> None:
    gpu = device("a10g")
    for tokens, most in ((64, 0.9), (4096, 1.0)):
        lora, qlora = (
            tokens_per_second(_LLAMA, Run(method, 1, tokens), gpu)
            for method in (Method.LORA, Method.QLORA)
        )
        assert qlora < most * lora


def test_price_is_time_times_rate() -> None:
    run, work, gpu = Run(Method.QLORA), Work(1000, 256, 3), device("a10g")
    taken = price(_LLAMA, run, work, gpu)
    assert taken.seconds == pytest.approx(768_000 / taken.tokens_per_s)
    assert gpu.price is not None
    assert taken.dollars == pytest.approx(gpu.price * taken.seconds / 3600)
    own = price(_LLAMA, run, work, gpu, per_hour=2.0)
    assert own.dollars == pytest.approx(2 * taken.seconds / 3600)
    cpu = price(entries()["smollm2-135m"].shape, Run(Method.LORA, cpu=True), work, device("cpu"))
    assert cpu.dollars is None
