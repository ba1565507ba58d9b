from pathlib import Path

from examples.loop.accounts import Accounts
from examples.loop.measure import Measured
from examples.loop.story import Story
from examples.loop.timeline import Evidence, Moment
from training.evaluation.intervals import wilson


def _story(wrong: tuple[str, ...] = (), lost: int = 0) -> Story:
    lines = [
        {
            "at": 1000.0 + n, "seconds": 0.5, "new": n > 60, "right": n % 3 > 0, "release": "m-1",
        }
        for n in range(120)
    ]  # fmt: skip
    return Story(
        title="A run <b>of the loop</b>",
        began=1000.0,
        shifted=1060.0,
        promoted=1110.0,
        moments=[
            Moment(1070.0, "health", "health HEALTHY → WARN: evidence of drift 1,600"),
            Moment(1080.0, "alias", "`production` → m-2 <script>"),
            Moment(1081.0, "job", "Step 5/22"),
        ],
        evidence=[Evidence(1000.0 + 10 * n, "m-1", n, {"all": 2.0**n}) for n in range(10)],
        threshold=1440,
        measured=[
            Measured("before", wilson(9, 10), wilson(0, 10), 0),
            Measured("after", wilson(9, 10), wilson(8, 10), 4),
        ],
        requests=lines,
        accounts=Accounts(lines, lines[:lost], [], [], []),
        rollouts=[{"candidate": "m-2", "status": "promoted", "reason": "better", "evidence": {}}],
        attribution={"verdict": "train"},
        wrong=wrong,
    )


def test_the_page_tells_the_figures_and_escapes_what_models_say(tmp_path: Path) -> None:
    page = _story().write(tmp_path).read_text()
    assert "the loop closed by itself" in page
    assert "0% → 80%" in page
    assert "<svg" in page
    assert "m-2 &lt;script&gt;" in page
    assert "A run &lt;b&gt;" in page
    assert "Step 5/22" not in page  # events of jobs are for the log
    assert (tmp_path / "story.json").is_file()
    assert "src=" not in page  # nothing is loaded from elsewhere
    assert "<script" not in page


def test_what_went_wrong_is_told_first(tmp_path: Path) -> None:
    page = _story(("the base was promoted",), lost=2).write(tmp_path).read_text()
    assert "the base was promoted" in page
    assert "the loop closed by itself" not in page
    assert page.index("the base was promoted") < page.index("What happened")
