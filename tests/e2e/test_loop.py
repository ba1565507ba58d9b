"""The loop closes by itself, from examples to a release that replaced a stale one.

Real vLLM, real training, customers by Locust: `make demo-loop --quick` with a SmolLM2 of fewer
layers, so that it ends in a quarter of an hour. `make test-loop` runs it.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from examples.loop.run import Run
from examples.loop.settings import QUICK
from examples.loop.story import Story
from tests.e2e.cut_model import cut

pytestmark = [pytest.mark.engine, pytest.mark.train, pytest.mark.loop, pytest.mark.timeout(1800)]

_SCENARIO = replace(QUICK, training={"max_steps": 48, "evaluation.cases": 8})


@pytest.fixture(scope="module")
def told(
    smollm: Path, minilm: Path, public_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Story, Path]]:
    """One run, and its folder."""
    folder, models = tmp_path_factory.mktemp("loop"), tmp_path_factory.mktemp("models")
    cut(smollm, models / smollm.name, first=5, last=3)
    (models / minilm.name).symlink_to(minilm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTGATE_MODELS_DIR", str(models))
        run = Run(_SCENARIO, public_data, folder, lambda moment: print(moment.text, flush=True))
        yield run.play(), folder


def test_a_stale_release_is_replaced_with_nobody_watching(told: tuple[Story, Path]) -> None:
    story, folder = told
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
    assert story.title in (folder / "story.html").read_text()
