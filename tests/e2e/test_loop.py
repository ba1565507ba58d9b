"""The loop closes by itself, from examples to a release that replaced a stale one.

Real vLLM, real training, customers by Locust, the official client: `make demo-loop --quick` with a
SmolLM2 of fewer layers, so that it ends in minutes. What the run leaves is then looked at as its
owner would, and the model that it made is asked three ways: the adapter and the merge in
transformers, and the merge as vLLM serves it.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from examples.loop.run import Run
from examples.loop.service import Service
from examples.loop.settings import QUICK
from examples.loop.story import Story
from examples.loop.task import Task, build
from gateway.store.database import Database
from gateway.store.examples import Example
from gateway.store.releases import Release, Releases
from tests.e2e.cut_model import cut

pytestmark = [pytest.mark.engine, pytest.mark.train, pytest.mark.timeout(1800)]

_SCENARIO = replace(QUICK, training={"max_steps": 48, "evaluation.cases": 8}, harm_s=30.0)
_PROMPTS = 30
_MOST_TOKENS = 48


@dataclass(frozen=True)
class Closed:
    """A loop that has closed, the release that serves now, and the folder of its base."""

    story: Story
    service: Service
    folder: Path
    task: Task
    release: Release
    base: Path

    @property
    def job(self) -> Any:
        """The job that made the release, as the API shows it."""
        return self.service.client.fine_tuning.jobs.retrieve(self.release.job or "")


@pytest.fixture(scope="module")
def closed(
    smollm: Path, minilm: Path, public_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Closed]:
    """One run, and the Driftgate of it."""
    folder, models = tmp_path_factory.mktemp("loop"), tmp_path_factory.mktemp("models")
    cut(smollm, models / smollm.name, first=5, last=3)
    (models / minilm.name).symlink_to(minilm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTGATE_MODELS_DIR", str(models))
        run = Run(_SCENARIO, public_data, folder, lambda moment: print(moment.text, flush=True))
        with run.playing() as (story, service):
            database = Database(service.database_url)
            releases = {each.id: each for each in Releases(database).all()}
            database.close()
            release = releases[service.serving("production")]
            base = Path(releases[release.base_release or ""].path)  # the first release
            task = build(public_data, _SCENARIO.sizes, seed=7)
            yield Closed(story, service, folder, task, release, base)


def test_a_stale_release_is_replaced_with_nobody_watching(closed: Closed) -> None:
    story = closed.story
    assert story.wrong == []
    assert len(story.accounts.asked) > 100
    assert story.accounts.clean
    assert story.promoted is not None
    assert story.promoted > story.shifted
    before, during, after = story.measured
    assert during.grounded > before.grounded  # it is answered from documents while it is stale
    assert after.new.low > before.new.high
    (rollout,) = story.rollouts
    assert rollout["status"] == "promoted"
    assert story.title in (closed.folder / "story.html").read_text()


def test_the_owner_finds_the_job_and_its_release(closed: Closed) -> None:
    client, job = closed.service.client, closed.job
    assert (job.error, job.status) == (None, "succeeded")
    assert job.fine_tuned_model == closed.release.id
    assert job.trained_tokens > 1000
    events: list[Any] = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
    told = [event.data["train_loss"] for event in events if "train_loss" in (event.data or {})]
    assert told[0] < told[-1]  # the newest comes first
    assert list(client.fine_tuning.jobs.checkpoints.list(job.id))
    names = {client.files.retrieve(id).filename for id in job.result_files}
    assert {"step_metrics.csv", "evaluation_report.html"} <= names
    listed = client.models.retrieve(closed.release.id).model_extra
    assert listed is not None
    assert listed["driftgate"]["job"] == job.id
    assert listed["driftgate"]["evaluation"]["verdict"] in ("PASS", "FAIL", "INCONCLUSIVE")
    for model in (closed.release.id, "production"):
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "My card is lost."}], max_tokens=4
        )
        assert raw.headers["x-driftgate-release"] == closed.release.id
        assert raw.parse().choices[0].message.content


def test_adapter_merge_and_vllm_say_the_same(closed: Closed) -> None:
    of_each = _PROMPTS // len(closed.task.test)
    examples = [row for rows in closed.task.test.values() for row in rows[:of_each]]
    assert len(examples) == _PROMPTS
    assert closed.release.adapter_path is not None
    results = closed.service.home / "jobs" / closed.job.id / "results"
    kl = json.loads((results / "merge.json").read_text())["kl"]
    with ThreadPoolExecutor(2) as pool:
        by_vllm = list(pool.map(lambda example: _ask(closed, example), examples))
    by_adapter = _answers(examples, Path(closed.release.adapter_path), closed.base)
    by_merge = _answers(examples, None, Path(closed.release.path))
    in_transformers = _agreement(by_adapter, by_merge)
    through_vllm = _agreement(by_merge, by_vllm)
    print(
        f"\nKL {kl:.1e}; same greedy answers of {_PROMPTS}: adapter and merge "
        f"{in_transformers:.0%}, merge in transformers and vLLM {through_vllm:.0%}, right "
        f"{_agreement(by_vllm, [example.answer for example in examples]):.0%}"
    )
    assert kl <= 1e-3
    assert in_transformers == 1.0
    assert through_vllm == 1.0


def _ask(closed: Closed, example: Example) -> str:
    messages: Any = [message.as_dict() for message in example.prompt]
    answer = closed.service.client.chat.completions.create(
        model=closed.release.id, messages=messages, temperature=0, max_tokens=_MOST_TOKENS
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
