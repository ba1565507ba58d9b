"""Reports of Evidently: the recent requests of a release beside its reference, as pages.

    <folder>/<alias>/<time>.html     one report, without anything to load from elsewhere
    <folder>/<alias>/latest.html     the last one again

A report is a picture and a second opinion. What alarms is the evidence (`monitoring.evidence`): a
comparison that is repeated each window would alarm on nothing. So each column is tested at 5 % by
the number of columns, and embeddings against what chance gives (`ModelDriftMethod` with its
bootstrap, called directly: inside a report Evidently would draw a t-SNE each time, 17 s).

Evidently is loaded with the first report, which takes some seconds.
"""

import html
import importlib
import math
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.settings import slug

Vectors = npt.NDArray[np.float32]

YES_OR_NO = (
    "refusal", "failed", "truncated", "empty", "format_failure", "answer_language_differs",
    "retrieved",
)  # fmt: skip
"""The columns that are shown as yes and no."""
_MOST_ROWS = 2000
_LEAST_VECTORS = 50
_LEVEL = 0.05
_KEPT = 20
_SEED = 5
_LAST = "latest.html"
_TWO_SAMPLES = "chi_square_of_two_samples"
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class NothingToReport(Exception):
    """There are no rows, or no column with values in both samples; the message says which."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests as rows: numbers by descriptor, `language` as text; and vectors, where known."""

    rows: Sequence[Mapping[str, float | str]]
    vectors: Vectors | None = None


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above a report.

    Attributes:
        alias: Whose requests they are.
        release: What answered.
        at: Unix seconds.
        notes: Further lines, such as those of new topics.
    """

    alias: str
    release: str
    at: float
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A report that was written.

    Attributes:
        path: Its page.
        url: The same below `/reports/`.
        columns: The columns that were compared.
        drifted: Those that differ.
        embedding_score: Area under the ROC curve of a classifier that tells recent prompts from
            those of the reference: 0.5 is chance; None for fewer than 50 vectors.
        embedding_drifted: It is more than chance gives in 19 of 20 cases.
    """

    path: Path
    url: str
    columns: tuple[str, ...]
    drifted: tuple[str, ...]
    embedding_score: float | None
    embedding_drifted: bool


class Reports:
    """Writes reports, and keeps the last 20 of each alias.

    Args:
        folder: Of the pages.
        workspace: A workspace of Evidently that gets each report too, for
            `evidently ui --workspace`; None: none does.
    """

    def __init__(self, folder: Path, workspace: Path | None = None) -> None:
        self._folder, self._workspace = folder, workspace

    def write(self, heading: Heading, current: Sample, reference: Sample) -> Written:
        """Write a report of recent requests against the reference; 2,000 rows of each at most.

        Raises:
            NothingToReport: There is nothing to compare.
            OSError: It cannot be written.
        """
        _load()
        rng = np.random.default_rng(_SEED)
        current, reference = _bounded(current, rng), _bounded(reference, rng)
        columns, missing = _columns(current.rows, reference.rows)
        with _quiet():
            snapshot, drifted = _run(columns, current.rows, reference.rows)
            score, more = _embeddings(current.vectors, reference.vectors)
            page: str = snapshot.get_html_str(as_iframe=False)
        lines = [
            f"{len(current.rows):,} recent requests beside {len(reference.rows):,} of the "
            f"reference. Different: {', '.join(map(title, drifted)) or 'nothing'}.",
            *_said_of_embeddings(score, more),
            *([f"Without values to compare: {', '.join(map(title, missing))}."] if missing else []),
            *heading.notes,
        ]
        folder = self._folder / folder_name(heading.alias)
        path = self._save(folder, heading.at, _headed(page, heading, lines))
        if self._workspace is not None:
            _add(self._workspace, heading, snapshot)
        url = f"/reports/{folder.name}/{path.name}"
        return Written(path, url, tuple(columns), drifted, score, more)

    def _save(self, folder: Path, at: float, page: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(at))
        path = folder / f"{stamp}.html"
        for number in range(2, 1000):
            if not path.exists():
                break
            path = folder / f"{stamp}-{number}.html"
        for each in (path, folder / _LAST):
            part = folder / f".{os.getpid()}.part"
            part.write_text(page, encoding="utf-8", errors="replace")
            os.replace(part, each)
        pages = sorted(each for each in folder.glob("[0-9]*.html") if each != path)
        for old in pages[: max(0, len(pages) + 1 - _KEPT)]:
            old.unlink(missing_ok=True)
        return path


def folder_name(alias: str) -> str:
    """Return the folder of an alias's reports: its name, where that is a safe one."""
    return alias if _PLAIN.fullmatch(alias) else slug(alias)


def title(column: str) -> str:
    """Return a descriptor's name in words."""
    return column.replace("_", " ").replace("nll", "uncertainty (nll)")


def _bounded(sample: Sample, rng: np.random.Generator) -> Sample:
    if not len(sample.rows):
        raise NothingToReport("a report needs rows in both samples")
    count = len(sample.rows)
    order = np.sort(rng.permutation(count)[:_MOST_ROWS])
    known = sample.vectors is not None and len(sample.vectors) == count
    vectors = sample.vectors[order] if known and sample.vectors is not None else None
    if vectors is not None:
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
    return Sample([sample.rows[row] for row in order], vectors)


def _columns(
    current: Sequence[Mapping[str, float | str]], reference: Sequence[Mapping[str, float | str]]
) -> tuple[list[str], list[str]]:
    """Return the columns with values in both samples, and those with values in only one."""
    both = [{name for row in rows for name in row if _known(row[name])}
            for rows in (current, reference)]  # fmt: skip
    order = dict.fromkeys(name for row in [*reference, *current] for name in row)
    columns = [name for name in order if name in both[0] & both[1]]
    if not columns:
        raise NothingToReport("no descriptor has values in both samples")
    return columns, [name for name in order if name in both[0] ^ both[1]]


def _known(value: float | str) -> bool:
    return bool(value) if isinstance(value, str) else math.isfinite(value)


def _run(
    columns: Sequence[str], current: Sequence[Mapping[str, float | str]],
    reference: Sequence[Mapping[str, float | str]],
) -> tuple[Any, tuple[str, ...]]:  # fmt: skip
    """Return Evidently's snapshot, and the columns that differ."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset, ValueStats

    words = [name for name in columns if name in YES_OR_NO or name == "language"]
    numbers = [name for name in columns if name not in words]
    definition = DataDefinition(
        numerical_columns=[title(name) for name in numbers],
        categorical_columns=[title(name) for name in words],
    )
    frames = [
        Dataset.from_pandas(_frame(columns, rows), data_definition=definition)
        for rows in (current, reference)
    ]
    level = _LEVEL / len(columns)
    drift = DataDriftPreset(
        # One column that differs is a difference, where each is tested at such a level.
        drift_share=max(0.01, round(0.5 / len(columns), 2)),
        num_method="ks",
        cat_method=_TWO_SAMPLES,
        threshold=level,
        include_tests=False,
    )
    stats = [ValueStats(column=title(name)) for name in columns]
    snapshot = Report([drift, *stats], include_tests=False).run(*frames)
    scores = {
        metric["config"]["column"]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith(":ValueDrift")
    }
    return snapshot, tuple(name for name in columns if scores.get(title(name), 1.0) < level)


def _frame(columns: Sequence[str], rows: Sequence[Mapping[str, float | str]]) -> Any:
    import pandas as pd

    data: dict[str, list[Any]] = {}
    for name in columns:
        values = [row.get(name, math.nan) for row in rows]
        known: list[Any] = [value if _known(value) else None for value in values]
        if name in YES_OR_NO:
            known = [None if value is None else "yes" if value else "no" for value in known]
        elif name == "language":
            known = [value or "unknown" for value in known]
        else:
            known = [math.nan if value is None else float(value) for value in known]
        data[title(name)] = known
    return pd.DataFrame(data)


def _embeddings(current: Vectors | None, reference: Vectors | None) -> tuple[float | None, bool]:
    if current is None or reference is None or min(len(current), len(reference)) < _LEAST_VECTORS:
        return None, False
    import pandas as pd
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import ModelDriftMethod

    method = ModelDriftMethod(bootstrap=True)
    names = [f"v{number}" for number in range(current.shape[1])]
    score, more, _ = method(
        pd.DataFrame(current, columns=names), pd.DataFrame(reference, columns=names)
    )
    return float(score), bool(more)


def _said_of_embeddings(score: float | None, more: bool) -> list[str]:
    if score is None:
        return []
    kind = "more than chance gives" if more else "no more than chance gives"
    return [
        f"A classifier tells recent prompts from those of the reference with an area under the "
        f"curve of {score:.2f} (0.5 is chance): {kind}."
    ]


def _headed(page: str, heading: Heading, lines: Sequence[str]) -> str:
    """Return a page of Evidently with a title and lines of our own; texts are escaped."""
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(heading.at))
    name = html.escape(f"{heading.alias}: release {heading.release}, {at}")
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    head = f"<title>{name}</title>"
    body = (
        '<header style="font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 24px auto '
        '0; padding: 0 24px"><h1 style="font-size: 24px; margin: 0 0 8px">'
        f'{name}</h1><ul style="margin: 0; padding-left: 20px">{items}</ul></header>'
    )
    page = page.replace("<head>", f"<head>{head}", 1)
    return re.sub(r"<body[^>]*>", lambda found: found.group() + body, page, count=1)


@cache
def _load() -> None:
    """Import Evidently, without its telemetry and without what it warns of on import."""
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("evidently.presets")
        importlib.import_module("evidently.ui.workspace")
        importlib.import_module("evidently.legacy.metrics.data_drift.embedding_drift_methods")
        registry = importlib.import_module("evidently.legacy.calculations.stattests.registry")
        kinds = [importlib.import_module("evidently.legacy.core").ColumnType.Categorical]
    name = "chi-square p_value of two samples"
    registry.register_stattest(registry.StatTest(_TWO_SAMPLES, name, kinds), _two_samples)


def _two_samples(reference: Any, current: Any, kind: Any, level: float) -> tuple[float, bool]:
    """Compare the shares of words; Evidently's own test takes the reference for the truth."""
    from scipy.stats import chi2_contingency

    counts = [column.value_counts() for column in (reference, current)]
    words = sorted(set(counts[0].index) | set(counts[1].index))
    table = [[int(each.get(word, 0)) for word in words] for each in counts]
    if len(words) < 2 or not all(map(sum, table)):
        return 1.0, False
    p = float(chi2_contingency(table, correction=False).pvalue)
    return p, p < level


def _add(workspace: Path, heading: Heading, snapshot: Any) -> None:
    """Put a report into the alias's project of a workspace, and take the oldest out."""
    from evidently.ui.workspace import Workspace

    workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _quiet():
        store = Workspace(str(workspace))
        found = [each for each in store.list_projects() if each.name == heading.alias]
        project = found[0] if found else store.create_project(heading.alias)
        store.add_run(project.id, snapshot)
        for old in list(store.list_runs(project.id))[:-_KEPT]:
            store.delete_run(project.id, old)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Evidently and its libraries warn of and nobody here can change."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module="evidently")
        # Columns that are constant, or have one value in a window.
        for message in ("invalid value", "divide by zero", "Degrees of freedom", "Mean of empty"):
            warnings.filterwarnings("ignore", message=message, category=RuntimeWarning)
        yield
