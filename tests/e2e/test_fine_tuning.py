"""Fine-tuning from upload to answer, with the official client alone against `driftgate serve`.

The recipe is the one of a few steps: the chain is what is tested, not how good the model becomes.
What the job leaves is then asked three ways: the adapter and the merge in transformers, and the
merge as vLLM serves it.
"""

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from examples import restaurants
from gateway.store.database import Database
from gateway.store.examples import Example, read_jsonl
from gateway.store.releases import Release, Releases

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = [pytest.mark.engine, pytest.mark.train, pytest.mark.timeout(1500)]

_ROWS, _HELD_OUT = 240, 12
_PROMPTS = 30
_MOST_TOKENS = 48


@dataclass(frozen=True)
class Tuned:
    """What a job has made."""

    job: Any
    events: list[Any]
    release: Release
    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "jobs" / str(self.job.id)


@pytest.fixture(scope="module")
def rows(public_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Utterances to a booking agent, and the slots that they fill as strict JSON."""
    folder = tmp_path_factory.mktemp("rows")
    restaurants.build(public_data, folder, rows=_ROWS, valid=_HELD_OUT, test=_PROMPTS, seed=7)
    return folder


@pytest.fixture(scope="module")
def tuned(served: "Served", rows: Path) -> Iterator[Tuned]:
    """The release of a job that the API was given; its engine ends after the tests here."""
    client = served.client()
    file, held_out = (
        client.files.create(file=rows / name, purpose="fine-tune")
        for name in ("train.jsonl", "valid.jsonl")
    )
    job = client.fine_tuning.jobs.create(
        model="production",
        training_file=file.id,
        validation_file=held_out.id,
        suffix="bookings",
        seed=1,
        extra_body={
            "driftgate": {
                "recipe": "tiny-cpu-smoke",
                "set": {"evaluation.cases": 4, "max_steps": 12},
            }
        },
    )
    started = time.monotonic()
    seen: dict[str, Any] = {}
    while job.status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() - started < 1200
        time.sleep(2)
        job = client.fine_tuning.jobs.retrieve(job.id)
        for event in reversed(list(client.fine_tuning.jobs.list_events(job.id, limit=100))):
            if event.id not in seen:
                seen[event.id] = event
                print(f"{time.monotonic() - started:6.1f} s  {event.message}")
    assert job.error is None, job.error
    assert job.status == "succeeded"
    database = Database(f"sqlite:///{served.home / 'driftgate.db'}")
    releases = Releases(database)
    release = releases.get(job.fine_tuned_model or "")
    assert release is not None
    try:
        yield Tuned(job, list(seen.values()), release, served.home)
    finally:
        releases.drop("candidate")
        database.close()
        served.wait(lambda: len(served.engines()) == 1, 60)
        shutil.rmtree(release.path)


def test_examples_become_a_release_that_answers(served: "Served", tuned: Tuned) -> None:
    client, job = served.client(), tuned.job
    losses = [e.data["train_loss"] for e in tuned.events if "train_loss" in (e.data or {})]
    assert losses[-1] < losses[0]
    assert list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert job.trained_tokens > 1000
    names = {client.files.retrieve(id).filename for id in job.result_files}
    assert {"step_metrics.csv", "evaluation_report.html"} <= names
    _wait_for_engine(served, client, tuned.release.id)
    for model in (tuned.release.id, "candidate"):
        raw = client.chat.completions.with_raw_response.create(
            model=model,
            messages=[{"role": "user", "content": "Asked: people\nA table for two."}],
            temperature=0,
            max_tokens=24,
        )
        assert raw.headers["x-driftgate-release"] == tuned.release.id
        assert raw.parse().choices[0].message.content
    listed = client.models.retrieve(tuned.release.id).model_extra
    assert listed is not None
    assert listed["driftgate"]["job"] == job.id
    assert listed["driftgate"]["evaluation"]["verdict"] in ("PASS", "FAIL", "INCONCLUSIVE")


def test_adapter_merge_and_vllm_say_the_same(
    served: "Served", tuned: Tuned, rows: Path, smollm: Path
) -> None:
    examples = [row for row in read_jsonl(rows / "test.jsonl") if isinstance(row, Example)]
    assert len(examples) == _PROMPTS
    assert tuned.release.adapter_path is not None
    kl = json.loads((tuned.folder / "results" / "merge.json").read_text())["kl"]
    client = served.client()
    _wait_for_engine(served, client, tuned.release.id)
    with ThreadPoolExecutor(2) as pool:
        by_vllm = list(pool.map(lambda e: _ask(client, tuned.release.id, e), examples))
    by_adapter = _answers(examples, Path(tuned.release.adapter_path), smollm)
    by_merge = _answers(examples, None, Path(tuned.release.path))
    in_transformers = _agreement(by_adapter, by_merge)
    through_vllm = _agreement(by_merge, by_vllm)
    print(
        f"\nKL {kl:.1e}; same greedy answers of {_PROMPTS}: adapter and merge "
        f"{in_transformers:.0%}, merge in transformers and vLLM {through_vllm:.0%}, right "
        f"{_agreement(by_vllm, [e.answer for e in examples]):.0%}"
    )
    assert kl <= 1e-3
    assert in_transformers == 1.0
    assert through_vllm == 1.0


def _wait_for_engine(served: "Served", client: openai.OpenAI, release: str) -> None:
    def answers() -> bool:
        try:
            client.chat.completions.create(
                model=release, messages=[{"role": "user", "content": "Hello."}], max_tokens=1
            )
        except openai.InternalServerError as error:
            if error.code != "engine_unavailable":
                raise
            return False
        return True

    served.wait(answers, 300)


def _ask(client: openai.OpenAI, release: str, example: Example) -> str:
    messages: Any = [message.as_dict() for message in example.prompt]
    answer = client.chat.completions.create(
        model=release, messages=messages, temperature=0, max_tokens=_MOST_TOKENS
    )
    return answer.choices[0].message.content or ""


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


def _agreement(one: list[str], other: list[str]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
