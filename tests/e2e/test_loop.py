"""The loop closes by itself, from examples to a release that replaced a stale one.

Real vLLM, real training, customers by Locust: `make demo-loop` in small.

What it leaves is then looked at: the page, every request, the jobs as the official client sees
them, and the new release asked three ways: adapter and merge in transformers, the merge by vLLM.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest

from examples.loop.run import Run
from examples.loop.service import Service
from examples.loop.settings import QUICK
from examples.loop.story import Story
from examples.loop.task import build
from gateway.store.database import Database
from gateway.store.examples import Example
from gateway.store.releases import Release, Releases

pytestmark = [pytest.mark.engine, pytest.mark.train, pytest.mark.timeout(2400)]

_PROMPTS = 24
_MOST_TOKENS = 32


@dataclass
class Seen:
    """What was seen of the new release while it was served."""

    questions: Sequence[Example]
    job: Any = None
    events: list[Any] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    checkpoints: list[Any] = field(default_factory=list)
    listed: dict[str, Any] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)

    def look(self, service: Service, release: str) -> None:
        """Ask it, and look at the job that made it, with the official client."""
        with openai.OpenAI(base_url=service.url, api_key=service.key, timeout=120) as client:
            self.listed = dict(client.models.retrieve(release).model_extra or {})["driftgate"]
            jobs = client.fine_tuning.jobs
            self.job = jobs.retrieve(self.listed["job"])
            self.events = list(jobs.list_events(self.job.id, limit=100))
            self.checkpoints = list(jobs.checkpoints.list(self.job.id))
            self.files = {client.files.retrieve(id).filename for id in self.job.result_files}
            for example in self.questions:
                turns: Any = [message.as_dict() for message in example.prompt]
                answer = client.chat.completions.create(
                    model=release, messages=turns, temperature=0, max_tokens=_MOST_TOKENS
                )
                self.answers.append(answer.choices[0].message.content or "")


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    story: Story
    folder: Path
    seen: Seen
    release: Release
    base: Release


@pytest.fixture(scope="module")
def ended(public_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """One run; the models that it made are deleted in the end."""
    task = build(public_data, QUICK.sizes, seed=7)
    rows = [row for name in (*task.known, *task.new) for row in task.test[name][8:]]
    seen, folder = Seen(rows[:: len(rows) // _PROMPTS][:_PROMPTS]), tmp_path_factory.mktemp("loop")
    run = Run(
        QUICK, public_data, folder, lambda moment: print(moment.text, flush=True),
        promoted=seen.look,
    )  # fmt: skip
    database = Database(f"sqlite:///{folder / 'home' / 'driftgate.db'}")
    try:
        story = run.play()
        releases = Releases(database)
        release = releases.get(seen.job.fine_tuned_model)
        assert release is not None
        base = releases.get(release.base_release or "")
        assert base is not None
        yield Ended(story, folder, seen, release, base)
    finally:
        for made in Releases(database).all():
            if made.job:
                shutil.rmtree(made.path, ignore_errors=True)
        database.close()


def test_a_stale_release_is_replaced_with_nobody_watching(ended: Ended) -> None:
    story = ended.story
    assert story.wrong == []
    accounts = story.accounts
    assert len(accounts.asked) > 100
    assert accounts.clean
    assert story.promoted is not None
    assert story.promoted > story.shifted
    before, during, after = story.measured
    assert during.grounded > before.grounded  # documents help while the release is stale
    assert after.new.low > before.new.high
    (rollout,) = story.rollouts
    assert (rollout["status"], rollout["candidate"]) == ("promoted", ended.release.id)
    assert story.title in (ended.folder / "story.html").read_text()


def test_the_official_client_sees_the_jobs_whole_story(ended: Ended) -> None:
    seen = ended.seen
    assert seen.job.status == "succeeded"
    assert seen.job.trained_tokens > 1000
    losses = [e.data["train_loss"] for e in seen.events if "train_loss" in (e.data or {})]
    assert losses[0] < losses[-1]  # the latest event comes first
    assert seen.checkpoints
    assert {"step_metrics.csv", "evaluation_report.html"} <= seen.files
    assert seen.listed["evaluation"]["verdict"] in ("PASS", "FAIL", "INCONCLUSIVE")


def test_adapter_merge_and_vllm_say_the_same(ended: Ended) -> None:
    assert ended.release.adapter_path is not None
    assert ended.release.job is not None
    results = ended.folder / "home" / "jobs" / ended.release.job / "results"
    kl = json.loads((results / "merge.json").read_text())["kl"]
    questions = ended.seen.questions
    by_adapter = _answers(questions, Path(ended.release.adapter_path), Path(ended.base.path))
    by_merge = _answers(questions, None, Path(ended.release.path))
    print(f"\nKL {kl:.1e}, {_PROMPTS} greedy answers")
    assert len(questions) == _PROMPTS
    assert kl <= 1e-3
    assert by_adapter == by_merge
    assert by_merge == ended.seen.answers


def _answers(examples: Sequence[Example], adapter: Path | None, folder: Path) -> list[str]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    answers: list[str] = []
    for start in range(0, len(examples), 8):
        batch = [
            [message.as_dict() for message in example.prompt]
            for example in examples[start : start + 8]
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
