"""Fine-tuning from upload to answer, with the official client alone against `driftgate serve`.

The recipe is the one of a few steps: the chain is what is tested, not how good the model becomes.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from examples import restaurants
from tests.e2e.conftest import Served, _serve

pytestmark = [pytest.mark.engine, pytest.mark.train, pytest.mark.timeout(1500)]

_ROOT = Path(__file__).parents[2]
_ROWS = 240


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Driftgate of its own: a candidate's engine would be in the way of other tests."""
    yield from _serve(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def rows(public_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Utterances to a booking agent, and the slots that they fill as strict JSON."""
    folder = tmp_path_factory.mktemp("rows")
    restaurants.build(public_data, folder, rows=_ROWS, valid=20, test=10, seed=7)
    return folder / "train.jsonl"


def test_examples_become_a_release_that_answers(training: Served, rows: Path) -> None:
    client = training.client()
    file = client.files.create(file=rows, purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="production",
        training_file=file.id,
        suffix="bookings",
        seed=1,
        extra_body={
            "driftgate": {
                "recipe": "tiny-cpu-smoke",
                "set": {"evaluation.cases": 8, "max_steps": 12},
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
    assert job.fine_tuned_model is not None
    losses = [
        event.data["train_loss"] for event in seen.values() if "train_loss" in (event.data or {})
    ]
    assert losses[-1] < losses[0]
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert checkpoints
    assert job.trained_tokens is not None
    assert job.trained_tokens > 1000
    names = {client.files.retrieve(id).filename for id in job.result_files}
    assert {"step_metrics.csv", "evaluation_report.html"} <= names
    try:
        _ask(training, client, job.fine_tuned_model, "Asked: people\nA table for two.")
    finally:
        shutil.rmtree(_ROOT / ".driftgate" / "models" / job.fine_tuned_model)


def _ask(training: Served, client: openai.OpenAI, release: str, prompt: str) -> None:
    """Ask the new release by its id and by `candidate`, once its engine is ready."""
    question: Any = [{"role": "user", "content": prompt}]

    def answers() -> bool:
        try:
            client.chat.completions.create(model=release, messages=question, max_tokens=1)
        except openai.InternalServerError as error:
            if error.code != "engine_unavailable":
                raise
            return False
        return True

    training.wait(answers, 300)
    for model in (release, "candidate"):
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=question, temperature=0, max_tokens=24
        )
        assert raw.headers["x-driftgate-release"] == release
        assert raw.parse().choices[0].message.content
    listed = client.models.retrieve(release).model_extra
    assert listed is not None
    assert listed["driftgate"]["job"]
    assert listed["driftgate"]["evaluation"]["verdict"] in ("PASS", "FAIL", "INCONCLUSIVE")
