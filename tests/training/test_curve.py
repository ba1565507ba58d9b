from pathlib import Path

from training import curve
from training.events import Event


def _losses(*losses: float) -> list[Event]:
    return [Event("step", n, 100, 0.0, loss=loss) for n, loss in enumerate(losses, 1)]


def _checks(*losses: float) -> list[Event]:
    return [Event("eval", n * 10, 100, 0.0, eval_loss=loss) for n, loss in enumerate(losses)]


def test_a_good_run_is_left_alone() -> None:
    events = _losses(*(2.0 - 0.1 * n for n in range(12))) + _checks(2.0, 1.5, 1.2, 1.21)
    assert curve.judge(events) == []


def test_a_loss_that_does_not_fall_is_told() -> None:
    (warning,) = curve.judge(_losses(*(2.0 + 0.01 * (n % 2) for n in range(12))))
    assert "does not fall" in warning


def test_a_few_losses_are_not_judged() -> None:
    assert curve.judge(_losses(2.0, 2.0, 2.1)) == []


def test_a_rising_validation_names_the_step_of_its_turn() -> None:
    (warning,) = curve.judge(_checks(2.0, 1.0, 1.2))
    assert "rises since step 10" in warning


def test_a_validation_that_never_improves_is_told() -> None:
    (warning,) = curve.judge(_checks(1.0, 1.1, 1.2))
    assert "no validation was better than the first" in warning


def test_the_pictures_show_both_curves(tmp_path: Path) -> None:
    events = _losses(2.0, 1.5, 1.2, 1.0) + _checks(2.0, 1.1)
    curve.save_png(events, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    svg = curve.as_svg(events)
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert svg.count("<path") > 4


def test_a_run_without_losses_still_has_a_picture() -> None:
    assert curve.as_svg([Event("started", 0, 10, 0.0)]).startswith("<svg")


def test_losses_of_many_sizes_are_all_to_be_seen() -> None:
    svg = curve.as_svg(_losses(5.0, 1.0, 0.1, 0.01) + _checks(5.0, 0.02))
    for tick in ("1", "0.1", "0.01"):
        assert f"<!-- {tick} -->" in svg
    assert "<!-- 0.00 -->" in curve.as_svg(_losses(2.0, 1.0, 0.5))
