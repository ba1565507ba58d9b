"""The page of a training run: the loss curve, what to look at, and what it was made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training import curve
from training.events import Event
from training.recipe import Recipe

if TYPE_CHECKING:
    from training.run import TrainResult

_TEMPLATES = Path(__file__).parent / "templates"


def render(
    summary: "TrainResult",
    recipe: Recipe,
    events: Sequence[Event],
    manifest: dict[str, Any],
    *,
    complete: bool,
) -> str:
    """Return the page as HTML: one file, without scripts or outside resources."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True)
    return environment.get_template("train.html").render(
        summary=summary,
        recipe=recipe,
        complete=complete,
        # Drawn by matplotlib of numbers alone.
        chart=Markup(curve.as_svg(events)),  # noqa: S704
        facts=facts(summary),
        rows=[(name, manifest[name]) for name in ("train", "eval") if manifest.get(name)],
        base=manifest["base"],
        settings=[
            (key, ", ".join(f"{k} {v}" for k, v in value.items()))
            if isinstance(value, dict)
            else (key, value)
            for key, value in recipe.model_dump().items()
            if key not in ("name", "description") and value not in ((), "")
        ],
    )


def facts(summary: "TrainResult") -> list[tuple[str, str]]:
    """Return the key figures of a run as label and text, for pages and tables."""
    found = [("steps", f"{summary.steps:,} of {summary.total:,}")]
    if summary.loss is not None:
        found.append(("training loss", f"{summary.loss:.3f}"))
    if summary.eval_loss is not None and summary.first_eval_loss is not None:
        found.append(
            ("validation loss", f"{summary.first_eval_loss:.3f} → {summary.eval_loss:.3f}")
        )
        found.append(("best step", f"{summary.best_step:,}"))
    found.append(("time", duration(summary.seconds)))
    if summary.tokens_per_s:
        found.append(("tokens/s", f"{summary.tokens_per_s:,.0f}"))
    found.append(("peak memory", f"{summary.memory / 2**30:.1f} GiB"))
    return found


def duration(seconds: float) -> str:
    """Return a time for people: `45 s`, `12 min 5 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
