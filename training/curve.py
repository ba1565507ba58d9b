"""The loss curve: what it says, and its picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from training.events import Event

# A loss that fell by less than this share has not fallen.
_FALL = 0.02
# A validation loss this much above its lowest value has risen.
_RISE = 0.05
_ENTRIES = 8
# Losses that span more than this factor are drawn on a logarithmic scale.
_WIDE = 30


def judge(events: Sequence[Event]) -> list[str]:
    """Return what is wrong with a run's losses, as sentences; nothing where all is well."""
    warnings = []
    losses = [event.loss for event in events if event.loss is not None]
    if len(losses) >= _ENTRIES:
        quarter = len(losses) // 4
        if fmean(losses[-quarter:]) > fmean(losses[:quarter]) * (1 - _FALL):
            warnings.append(
                "the training loss does not fall: raise `learning_rate`, or look at the rows with "
                "`driftgate data check`"
            )
    checks = [(e.step, e.eval_loss) for e in events if e.eval_loss is not None]
    if len(checks) > 1:
        best_step, best = min(checks, key=lambda check: check[1])
        if best_step == checks[0][0]:
            warnings.append(
                "no validation was better than the first: the rows to learn do not help on those "
                "to validate"
            )
        elif checks[-1][1] > best * (1 + _RISE):
            warnings.append(
                f"the validation loss rises since step {best_step}: the model learns the rows by "
                "heart; fewer epochs or more rows would help"
            )
    return warnings


def save_png(events: Sequence[Event], path: Path) -> None:
    """Draw the loss curve as a picture file."""
    path.write_bytes(_draw(events, "png", "white", "#1c2127"))


def as_svg(events: Sequence[Event]) -> str:
    """Draw the loss curve to stand in a page; text takes the page's colour."""
    svg = _draw(events, "svg", "none", "#0f0f0f").decode()
    return svg[svg.index("<svg") :].replace("#0f0f0f", "currentColor")


def _draw(events: Sequence[Event], kind: str, ground: str, ink: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    steps = [(e.step, e.loss) for e in events if e.loss is not None]
    checks = [(e.step, e.eval_loss) for e in events if e.eval_loss is not None]
    figure = Figure(figsize=(8, 4), facecolor=ground, layout="constrained")
    axes = figure.add_subplot(facecolor=ground)
    if steps:
        axes.plot(*zip(*steps, strict=True), color="#6ea8fe", linewidth=1, alpha=0.6)
        smooth = list(zip([step for step, _ in steps], _smoothed(steps), strict=True))
        axes.plot(
            *zip(*smooth, strict=True), color="#1f6feb", linewidth=2, label="training, averaged"
        )
    if checks:
        best_step, best = min(checks, key=lambda check: check[1])
        label = f"validation, best {best:.3f} at step {best_step}"
        axes.plot(*zip(*checks, strict=True), color="#d9822b", marker="o", linewidth=2, label=label)
    axes.set_xlabel("step", color=ink)
    axes.set_ylabel("loss per trained token (nats)", color=ink)
    losses = [loss for _, loss in (*steps, *checks)]
    if losses and max(losses) > _WIDE * min(losses) > 0:
        # On a linear scale everything after the first steps would lie on the floor.
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    else:
        axes.set_ylim(bottom=0)
    axes.tick_params(colors=ink)
    axes.grid(color=ink, alpha=0.15)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
    if steps or checks:
        axes.legend(frameon=False, labelcolor=ink)
    written = io.BytesIO()
    if kind == "svg":
        FigureCanvasSVG(figure).print_svg(written)
    else:
        FigureCanvasAgg(figure)
        figure.savefig(written, format="png", dpi=150)
    return written.getvalue()


def _smoothed(steps: Sequence[tuple[int, float]]) -> list[float]:
    """Return the exponential average of the losses over about a twentieth of the run."""
    weight = 1 - 1 / max(2.0, len(steps) / 20)
    average, total, smooth = 0.0, 0.0, []
    for _, loss in steps:
        average = weight * average + (1 - weight) * loss
        total = weight * total + (1 - weight)
        smooth.append(average / total)  # without a pull towards zero at the start
    return smooth
