from pathlib import Path

from examples.loop.settings import FULL, QUICK
from examples.loop.task import build, reading
from gateway.store.examples import Example
from retrieval.embedder import HashEmbedder


def _questions(rows: tuple[Example, ...] | list[Example]) -> set[str]:
    return {row.question for row in rows}


def test_nothing_of_the_new_topics_is_trained_on_at_first(public_data: Path) -> None:
    for scenario in (FULL, QUICK):
        task = build(public_data, scenario.sizes, seed=7)
        read = reading(task, scenario.grounded_rows, HashEmbedder())
        assert len(read) == scenario.grounded_rows
        rows = [*task.train, *task.valid, *read]
        assert not {row.answer for row in rows} & set(task.new)
        titles = {f'title="{name}"' for name in task.new}
        assert not any(title in row.prompt[-1].content for row in rows for title in titles)
        assert {row.answer for row in task.train} == set(task.known)


def test_what_measures_was_never_seen(public_data: Path) -> None:
    task = build(public_data, FULL.sizes, seed=7)
    asked = {q for rows in task.traffic.values() for q in _questions(rows)}
    trained = _questions([*task.train, *task.valid])
    for rows in task.test.values():
        assert len(rows) >= FULL.test_rows
        assert not _questions(rows) & trained
    assert not asked & trained
    assert set(task.documents) == {*task.known, *task.new}


def test_rows_with_passages_look_like_the_gateways_prompts(public_data: Path) -> None:
    task = build(public_data, QUICK.sizes, seed=7)
    (row, *_) = reading(task, 2, HashEmbedder())
    assert row.prompt[0].content.startswith("Name the intent")
    assert '<passage number="1"' in row.prompt[-1].content
    assert row.prompt[-1].content.count("</passage>") == 2
