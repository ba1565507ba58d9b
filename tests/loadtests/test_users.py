"""What users ask, how their number changes, and how a stream is read."""

from pathlib import Path

import pytest

from loadtests.curves import users_at
from loadtests.prompts import prompts
from loadtests.users.stream import read_stream


@pytest.mark.parametrize(
    ("shape", "shares"),
    [
        ("steady", [1.0, 1.0, 1.0]),
        ("ramp", [0.6, 1.0, 1.0]),
        ("spike", [1.0, 0.2, 0.2]),
        ("soak", [0.5, 0.5, 0.5]),
    ],
)
def test_shapes_scale_with_users_and_time(shape: str, shares: list[float]) -> None:
    for seconds, peak in ((100.0, 10), (1000.0, 100)):
        seen = [users_at(shape, share * seconds, seconds, peak) for share in (0.48, 0.8, 0.99)]
        assert seen == [round(peak * share) for share in shares]
        assert users_at(shape, seconds, seconds, peak) is None
    assert users_at(shape, 0, 100, 1) == 1


def test_our_own_prompts_stand_in_for_the_data_set(tmp_path: Path) -> None:
    own = prompts(str(tmp_path))
    assert len(own) == len(set(own)) >= 50
    assert not any(line.startswith("#") or not line.strip() for line in own)
    (tmp_path / "banking77").mkdir()
    (tmp_path / "banking77" / "test.csv").write_text("text,category\n a ,x\nb,y\na,x\n")
    prompts.cache_clear()
    assert prompts(str(tmp_path)) == ("a", "b")


def _frame(text: str) -> bytes:
    return f'data: {{"choices": [{{"delta": {{"content": "{text}"}}}}]}}'.encode()


def test_times_of_a_stream_are_those_of_frames_with_text() -> None:
    lines = [b": hello", _frame(""), _frame("a"), b"", _frame("b"), _frame("c"), b"data: [DONE]"]
    ticks = iter((1.0, 1.5, 3.5))
    timed = read_stream(lines, lambda: next(ticks))
    assert (timed.first, timed.gaps, timed.last) == (1.0, (0.5, 2.0), 3.5)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([_frame("a")], "no end"),
        ([_frame(""), b"data: [DONE]"], "no token"),
        ([_frame("a"), b'data: {"error": {"code": "engine_failed"}}'], "engine_failed"),
    ],
)
def test_a_stream_that_went_wrong_is_a_failure(lines: list[bytes], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_stream(lines)
