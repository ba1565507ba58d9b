"""The loop closes by itself, from examples to a release that replaced a stale one.

Real vLLM, real training, customers by Locust: `make demo-loop` in small. `make test-loop` runs it.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.loop.run import Run
from examples.loop.settings import QUICK
from examples.loop.story import Story
from gateway.store.database import Database
from gateway.store.releases import Releases

pytestmark = [pytest.mark.engine, pytest.mark.train, pytest.mark.loop, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def told(
    public_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Story, Path]]:
    """One run, and its folder; the models that it made are deleted in the end."""
    folder = tmp_path_factory.mktemp("loop")
    try:
        run = Run(QUICK, public_data, folder, lambda moment: print(moment.text, flush=True))
        yield run.play(), folder
    finally:
        database = Database(f"sqlite:///{folder / 'home' / 'driftgate.db'}")
        for made in Releases(database).all():
            if made.job:
                shutil.rmtree(made.path, ignore_errors=True)
        database.close()


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
