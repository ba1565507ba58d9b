"""The report of a data check as one HTML page, for people who decide about the data."""

from collections import Counter
from pathlib import Path
from typing import Any

from training.data import plots
from training.data.check import Checked

_TEMPLATES = Path(__file__).parents[1] / "templates"
# A page of a hundred thousand findings would not open; JSON has them all.
_MOST_FINDINGS = 50


def write_report(path: Path, checked: Checked) -> None:
    """Write the page, atomically. It repeats no text of a row but answers that contradict."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("data.html").render(
        checked=checked,
        verdict="fail" if checked.count("error") else "pass",
        checks=_checks(checked),
        pictures=_pictures(checked),
    )
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(page, "utf-8")
    partial.replace(path)


def _checks(checked: Checked) -> list[dict[str, Any]]:
    """Return the checks that found something, worst first, each with its first findings."""
    found: dict[str, list[Any]] = {}
    for finding in checked.findings:  # already in the order of severity
        found.setdefault(finding.check, []).append(finding)
    return [
        {
            "name": name,
            "severity": findings[0].severity,
            "count": len(findings),
            "actions": sorted({f.action for f in findings} - {"keep"}),
            "findings": findings[:_MOST_FINDINGS],
            "more": max(0, len(findings) - _MOST_FINDINGS),
        }
        for name, findings in found.items()
    ]


def _pictures(checked: Checked) -> list[tuple[str, str]]:
    by_check: dict[str, Counter[str]] = {}
    for finding in checked.findings:
        if finding.severity != "info":
            by_check.setdefault(finding.check, Counter())[finding.severity] += 1
    several = len(checked.contributors) > 1 or any(checked.contributors)
    drawn = [
        ("Findings by check", plots.by_check(by_check)),
        ("Token lengths", plots.token_lengths(checked.tokens, checked.options.max_length)),
        ("Labels", plots.bars(checked.labels, "label")),
        (
            "Languages of the rows that are long enough to tell",
            plots.bars(checked.languages, "language"),
        ),
        ("Contributors", plots.bars(checked.contributors, "contributor") if several else ""),
    ]
    return [(title, picture) for title, picture in drawn if picture]
