"""Adapter and merge say the same, in transformers and through vLLM: SmolLM2-135M on real rows."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples import restaurants
from gateway.engines.base import EngineSpec, child_environment
from gateway.engines.probe import is_healthy
from gateway.engines.vllm import VllmEngine, is_cpu_build
from gateway.store.examples import Example, read_jsonl
from gateway.store.releases import Release
from training.merge import MergeResult, merge
from training.run import TrainConfig, TrainResult, train

pytestmark = [pytest.mark.engine, pytest.mark.train, pytest.mark.timeout(1200)]

_PROMPTS = 50
_MOST_TOKENS = 48
_START_S = 300.0


@pytest.fixture(scope="module")
def rows(public_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    restaurants.build(public_data, folder, rows=320, valid=40, test=_PROMPTS, seed=7)
    return folder


@pytest.fixture(scope="module")
def run(rows: Path, smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(
        TrainConfig(
            base=smollm,
            data=rows / "train.jsonl",
            eval=rows / "valid.jsonl",
            out=tmp_path_factory.mktemp("run") / "slots",
            recipe="tiny-cpu-smoke",
            overrides={"max_steps": 20, "eval_every": 20},
        )
    )


@pytest.fixture(scope="module")
def merged(run: TrainResult, tmp_path_factory: pytest.TempPathFactory) -> MergeResult:
    return merge(run.run, tmp_path_factory.mktemp("merged") / "slots", prompts=_PROMPTS)


@pytest.fixture(scope="module")
def engine(merged: MergeResult, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A vLLM of the merge, started as the launcher starts one."""
    folder = tmp_path_factory.mktemp("engine")
    release = Release(
        id="slots",
        model="slots",
        revision="",
        path=str(merged.model),
        digests=merged.digests,
        created_at=time.time(),
    )
    spec = EngineSpec(release, "blue", f"unix:{folder}/vllm.sock", folder / "vllm.log")
    kind = VllmEngine(max_model_len=512, kv_cache_gib=1, stop_timeout_s=5, cpu=is_cpu_build())
    with spec.log.open("wb") as log:
        process = subprocess.Popen(
            kind.command(spec),
            env=child_environment(kind, spec, os.environ),
            stdout=log,
            stderr=log,
        )
    transport = httpx.HTTPTransport(uds=f"{folder}/vllm.sock")
    try:
        with httpx.Client(transport=transport, base_url="http://engine", timeout=120) as client:
            deadline = time.monotonic() + _START_S
            # Not with httpx, which leaves the socket of a refused connection open.
            while not asyncio.run(is_healthy(spec.address, 5.0)):
                tail = spec.log.read_text(errors="replace")[-2000:]
                assert process.poll() is None, tail
                assert time.monotonic() < deadline, tail
                time.sleep(0.5)
            yield client
    finally:
        process.terminate()
        process.wait(60)


def test_adapter_and_merge_say_the_same_in_transformers_and_in_vllm(
    rows: Path,
    smollm: Path,
    run: TrainResult,
    merged: MergeResult,
    engine: httpx.Client,
) -> None:
    examples = [row for row in read_jsonl(rows / "test.jsonl") if isinstance(row, Example)]
    assert len(examples) == _PROMPTS
    by_adapter = _answers(examples, run.adapter, smollm)
    by_merge = _answers(examples, None, merged.model)
    by_vllm = [_ask(engine, example) for example in examples]
    in_transformers = _agreement(by_adapter, by_merge)
    through_vllm = _agreement(by_merge, by_vllm)
    print(
        f"\nKL {merged.kl:.1e} ({merged.precision}); same greedy answers of {_PROMPTS}: "
        f"adapter and merge {in_transformers:.0%}, merge in transformers and vLLM "
        f"{through_vllm:.0%}, right {_agreement(by_vllm, [e.answer for e in examples]):.0%}"
    )
    assert merged.kl <= 1e-3
    assert in_transformers == 1.0
    assert through_vllm == 1.0


def _answers(examples: list[Example], adapter: Path | None, folder: Path) -> list[str]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    answers: list[str] = []
    for start in range(0, len(examples), 10):
        batch = [
            [message.as_dict() for message in example.prompt]
            for example in examples[start : start + 10]
        ]
        encoded = tokenizer.apply_chat_template(
            batch,
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        with torch.inference_mode():
            made = model.generate(**encoded, max_new_tokens=_MOST_TOKENS, do_sample=False)
        made = made[:, encoded["input_ids"].shape[1] :]
        answers += tokenizer.batch_decode(made, skip_special_tokens=True)
    return answers


def _ask(engine: httpx.Client, example: Example) -> str:
    answer = engine.post(
        "/v1/chat/completions",
        json={
            "model": "slots",
            "messages": [message.as_dict() for message in example.prompt],
            "temperature": 0,
            "max_tokens": _MOST_TOKENS,
        },
    )
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def _agreement(one: list[str], other: list[str]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
