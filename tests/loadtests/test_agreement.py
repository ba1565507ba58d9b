"""What `sla.yaml` may say, and how a mistake in it is told."""

from pathlib import Path

import pytest

from loadtests.sla.agreement import AgreementError, read

ROOT = Path(__file__).parents[2]
GOOD = """\
scenarios:
  chat:
    says: Some chat
    user: ChatUser
    shape: steady
    users: 2
    seconds: 3
    limits:
      ttft_ms: {p50: 10, p95: 20.5}
      error_rate: 0.01
"""


def _written(folder: Path, text: str) -> Path:
    path = folder / "sla.yaml"
    path.write_text(text)
    return path


def test_the_shipped_agreement_covers_every_user_and_shape() -> None:
    scenarios = read(ROOT / "loadtests" / "sla.yaml")
    assert {s.user for s in scenarios} == {"ChatUser", "DocumentsUser", "TenantUser"}
    assert {s.shape for s in scenarios} == {"steady", "ramp", "spike", "soak"}
    for scenario in scenarios:
        assert set(scenario.limits.times_ms["total_ms"]) == {"p50", "p95", "p99"}
    assert sum(s.seconds for s in scenarios if not s.on_request) < 240


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (scenario,) = read(_written(tmp_path, GOOD))
    assert (scenario.name, scenario.users, scenario.seconds) == ("chat", 2, 3)
    assert scenario.limits.times_ms == {"ttft_ms": {"p50": 10, "p95": 20.5}}
    assert scenario.limits.error_rate == 0.01
    assert not scenario.on_request


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("users: 2", "users: two", 6, "`scenarios.chat.users` must be a whole number"),
        ("users: 2", "users: true", 6, "`scenarios.chat.users` must be a whole number"),
        ("users: 2", "users: 0", 6, "is 0, must be at least 1"),
        ("users: 2", "user: ChatUser", 6, "names `user` twice"),
        ("users: 2", "persons: 2", 6, "has no field `persons`"),
        ("    seconds: 3\n", "", 3, "`scenarios.chat` lacks `seconds`"),
        ("ChatUser", "Chatter", 4, "is `Chatter`, not one of ChatUser"),
        ("steady", "sawtooth", 5, "is `sawtooth`, not one of steady"),
        ("p50: 10", "p51: 10", 9, "has no field `p51`"),
        ("p50: 10", "p50: -1", 9, "`scenarios.chat.limits.ttft_ms.p50` is -1"),
        ("p50: 10", "p50: .nan", 9, "must be at least 0"),
        ("p50: 10", "p50: 30", 9, "a higher percentile has a lower limit"),
        ("{p50: 10, p95: 20.5}", "{}", 9, "names no percentile"),
        ("{p50: 10, p95: 20.5}", "10", 9, "must be a mapping"),
        ("error_rate: 0.01", "error_rate: 1.5", 10, "at most 1"),
        ("      ttft_ms: {p50: 10, p95: 20.5}\n", "", 9, "needs at least one of ttft_ms"),
        ("says: Some chat", "says: [a", 4, ""),
        (GOOD, "", 1, "the file is empty"),
        (GOOD, "scenarios: {}\n", 1, "there must be at least one"),
        (GOOD, "scenes: {}\n", 1, "has no field `scenes`"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    assert old in GOOD
    path = _written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(AgreementError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}:{line}:")
    assert said in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgreementError, match=r"none\.yaml cannot be read"):
        read(tmp_path / "none.yaml")
