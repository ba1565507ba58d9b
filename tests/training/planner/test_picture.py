from rich.console import Console

from training.catalog import entries
from training.planner.fit import options
from training.planner.memory import Method, Run
from training.planner.picture import bars

_8B = entries()["llama-3.1-8b"].shape


def _drawn(gib: float, width: int = 100) -> list[str]:
    console = Console(width=width, record=True, file=None, color_system=None)
    with console.capture() as captured:
        console.print(bars(options(_8B, Run(Method.FULL), gib * 2**30), width))
    return captured.get().splitlines()


def test_bars_are_to_scale() -> None:
    full, lora, qlora = _drawn(200)[:3]
    limit = full.index("┃")
    assert lora.index("┃") == limit
    assert full.startswith("full")
    # 135.6 and 18.2 of 200 GiB, in cells of the same size.
    drawn = [sum(mark not in " ┃" for mark in line[7:limit]) for line in (full, lora)]
    assert abs(drawn[0] / drawn[1] - 135.6 / 18.2) < 0.8
    assert "10.75 GiB" in qlora


def test_a_bar_that_is_far_too_long_is_cut() -> None:
    full, lora, _ = _drawn(22.5)[:3]
    assert "»" in full
    assert "»" not in lora
    assert full.index("┃") < full.index("»")


def test_marks_tell_the_parts_apart_without_colour() -> None:
    lines = _drawn(200)
    assert "█ weights" in lines[3]
    assert "▓ optimizer" in lines[3]
    assert {"█", "▓", "g"} <= set(lines[0])


def test_it_fits_a_narrow_terminal() -> None:
    assert max(len(line) for line in _drawn(22.5, 60)[:3]) <= 60
