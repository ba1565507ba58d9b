"""Reports of the real Evidently: what they compare, where they lie, and that they need no net."""

import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from monitoring.reports import Heading, NothingToReport, Reports, Sample, Vectors, folder_name

ROOT = Path(__file__).parents[2]
HEADING = Heading("production", "production-1", 1_790_000_000.0, ["new: apple pay: 14 %"])
Rows = list[Mapping[str, float | str]]


def rows(count: int, seed: int, longer: float = 0.0, refused: float = 0.02) -> Rows:
    rng = np.random.default_rng(seed)
    return [
        {
            "prompt_words": float(rng.poisson(12 + longer)),
            "nll": float(rng.normal(1, 0.3)),
            "refusal": float(rng.random() < refused),
            "empty": 0.0,
            "language": str(rng.choice(["en", "de", ""], p=[0.8, 0.1, 0.1])),
        }
        for _ in range(count)
    ]


def vectors(count: int, seed: int, shift: float = 0.0) -> Vectors:
    found = np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32)
    found[:, 0] += shift
    return found / np.linalg.norm(found, axis=1, keepdims=True)  # type: ignore[no-any-return]


REFERENCE = Sample(rows(600, 1), vectors(600, 1))


def test_what_differs_is_named_and_what_does_not_is_not(tmp_path: Path) -> None:
    current = Sample(rows(200, 12, longer=6, refused=0.4), vectors(200, 2, shift=3))
    written = Reports(tmp_path).write(HEADING, current, REFERENCE)
    assert set(written.drifted) == {"prompt_words", "refusal"}
    assert set(written.columns) == {"prompt_words", "nll", "refusal", "empty", "language"}
    assert written.embedding_score is not None
    assert written.embedding_score > 0.7
    assert written.embedding_drifted
    assert written.url == "/reports/production/2026-09-21T14-13-20Z.html"
    assert written.path == tmp_path / written.url.removeprefix("/reports/")


def test_the_same_traffic_does_not_differ(tmp_path: Path) -> None:
    written = Reports(tmp_path).write(HEADING, Sample(rows(200, 3), vectors(200, 3)), REFERENCE)
    assert written.drifted == ()
    assert written.embedding_score is not None
    assert written.embedding_score < 0.62


def test_a_page_says_whose_it_is_and_loads_nothing(tmp_path: Path) -> None:
    heading = Heading("production", "production-1", 0.0, ["<script>alert(1)</script>"])
    page = Reports(tmp_path).write(heading, Sample(rows(60, 4)), REFERENCE).path.read_text()
    assert "<title>production: release production-1, 1970-01-01 00:00 UTC</title>" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    for outside in ('src="http', "src='http", 'link href="http', "@import url(http"):
        assert outside not in page


def test_pages_are_kept_in_one_folder_of_the_alias_and_the_oldest_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.reports._KEPT", 2)
    reports = Reports(tmp_path / "reports", tmp_path / "workspace")
    for at in (0.0, 60.0, 60.0):
        last = reports.write(Heading("a/b", "r", at), Sample(rows(20, 5)), REFERENCE)
    folder = tmp_path / "reports" / folder_name("a/b")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["1970-01-01T00-01-00Z-2.html", "1970-01-01T00-01-00Z.html", "latest.html"]
    assert (folder / "latest.html").read_bytes() == last.path.read_bytes()

    from evidently.ui.workspace import Workspace

    workspace = Workspace(str(tmp_path / "workspace"))
    project = next(each for each in workspace.list_projects() if each.name == "a/b")
    assert len(workspace.list_runs(project.id)) == 2


@pytest.mark.parametrize("alias", ["../../etc", ".hidden", "", "x" * 300, "a b", "ü"])
def test_no_alias_leaves_the_folder(alias: str) -> None:
    name = folder_name(alias)
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name) < 120


def test_a_window_of_one_row_is_reported(tmp_path: Path) -> None:
    one = Sample(rows(1, 6), vectors(1, 6))
    written = Reports(tmp_path).write(HEADING, one, REFERENCE)
    assert written.embedding_score is None


def test_values_that_are_missing_or_constant_do_no_harm(tmp_path: Path) -> None:
    odd: Rows = [
        {"prompt_words": math.nan if i % 2 else 12.0, "nll": math.inf, "empty": 1.0, "new": 2.0}
        for i in range(50)
    ]
    written = Reports(tmp_path).write(HEADING, Sample(odd, vectors(3, 1)), REFERENCE)
    assert written.columns == ("prompt_words", "empty")
    page = written.path.read_text()
    assert "Without values to compare: uncertainty (nll), refusal, language, new." in page


def test_nothing_to_compare_is_told(tmp_path: Path) -> None:
    reports = Reports(tmp_path)
    with pytest.raises(NothingToReport, match="rows in both"):
        reports.write(HEADING, Sample([]), REFERENCE)
    with pytest.raises(NothingToReport, match="no descriptor"):
        reports.write(HEADING, Sample([{"nll": math.nan}]), REFERENCE)
    assert list(tmp_path.iterdir()) == []


def test_the_same_samples_give_the_same_result(tmp_path: Path) -> None:
    big = Sample(rows(2500, 7), vectors(2500, 7))  # more than is read
    first, second = (Reports(tmp_path).write(HEADING, big, REFERENCE) for _ in range(2))
    assert first.embedding_score == second.embedding_score
    assert first.drifted == second.drifted
    assert "2,000 recent requests" in first.path.read_text()


def test_importing_reports_loads_no_evidently() -> None:
    code = "import sys, monitoring.reports; print({'evidently', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr
