from dataclasses import replace

import pytest

from training.catalog import entries
from training.planner.architecture import Architecture
from training.planner.memory import Method, Run, estimate, stored_bytes, weight_bytes

_LLAMA = entries()["llama-3.1-8b"].shape
# Qwen-7B on one A100, batch 1, bfloat16, checkpointing, FlashAttention: GB that nvidia-smi showed.
# https://github.com/QwenLM/Qwen#profiling-of-memory-and-speed
_QWEN = Architecture("qwen2", 32, 4096, 32, 32, 128, 11008, 151936, 8192, qkv_bias=True)
_PUBLISHED = {256: 20.1, 512: 20.4, 1024: 21.5, 2048: 23.8, 4096: 29.7, 8192: 36.6}
_CONTEXT = 1.0 * 2**30


@pytest.mark.parametrize(("tokens", "gigabytes"), _PUBLISHED.items())
def test_published_measurements_of_a_7b_model_are_met(tokens: int, gigabytes: float) -> None:
    run = Run(Method.LORA, 1, tokens, rank=64, padded=False)
    assert estimate(_QWEN, run, _CONTEXT).total == pytest.approx(gigabytes * 1e9, rel=0.15)


def test_four_bits_cost_4_127_bits() -> None:
    run = Run(Method.QLORA)
    rest = 4 * (_LLAMA.parameters - _LLAMA.linear_parameters)
    bits = 8 * (weight_bytes(_LLAMA, run) - rest) / _LLAMA.linear_parameters
    assert bits == pytest.approx(
        4.127, abs=0.001
    )  # QLoRA, section 3: 0.127 for double quantisation


def test_full_fine_tuning_costs_18_bytes_a_parameter_on_a_gpu() -> None:
    # https://huggingface.co/docs/transformers/model_memory_anatomy: 6 + 8 + 4
    parts = estimate(_LLAMA, Run(Method.FULL, 1, 8))
    fixed = parts.weights + parts.optimizer + parts.gradients
    assert fixed == 18 * _LLAMA.parameters


def test_each_method_needs_less_than_the_one_before() -> None:
    totals = [estimate(_LLAMA, Run(method)).total for method in Method]
    assert totals == sorted(totals, reverse=True)
    assert totals[0] > 5 * totals[2]


def test_what_makes_a_run_smaller() -> None:
    run = Run(Method.LORA, 4, 1024, checkpointing=False, dropout=0.1)
    total = estimate(_LLAMA, run).total
    for change in (
        {"checkpointing": True}, {"dropout": 0.0}, {"batch": 2}, {"tokens": 512}, {"rank": 8},
        {"padded": False}, {"head_share": 0.2}, {"paged_8bit": True},
    ):  # fmt: skip
        assert estimate(_LLAMA, replace(run, **change)).total < total, change


def test_activations_grow_with_tokens_and_weights_do_not() -> None:
    small, large = (estimate(_LLAMA, Run(Method.LORA, 1, n, padded=False)) for n in (512, 1024))
    assert large.weights == small.weights
    assert large.activations == pytest.approx(2 * small.activations)
    assert large.logits == 2 * small.logits == 12 * 1024 * _LLAMA.vocab


def test_the_runtime_is_counted_where_it_is_given() -> None:
    run = Run(Method.LORA)
    assert estimate(_LLAMA, run, 5.0).total - estimate(_LLAMA, run).total == 5.0
    assert estimate(_LLAMA, replace(run, cpu=True)).runtime > 500 * 2**20


def test_stored_weights_by_bits() -> None:
    assert stored_bytes(_LLAMA, 16) == 2 * _LLAMA.parameters
    assert stored_bytes(_LLAMA, 16) > stored_bytes(_LLAMA, 8) > stored_bytes(_LLAMA, 4)
