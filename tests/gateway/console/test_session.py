"""What the console's cookies carry: nobody can make, change or prolong one."""

import os
import time
from pathlib import Path

import pytest

from gateway.console import session
from gateway.console.attempts import Attempts
from gateway.console.session import Sealer, SecretError, Session, load_secret

_SECRET = b"s" * 32


def test_a_session_is_read_again() -> None:
    sealer = Sealer(_SECRET)
    made = sealer.open_session("0a1b2c3d")
    assert sealer.read_session(sealer.seal("session", made)) == made
    assert Sealer(_SECRET).is_form_token(made, sealer.form_token(made))


@pytest.mark.parametrize("n", range(0, 150, 7))
def test_a_changed_cookie_is_none(n: int) -> None:
    sealer = Sealer(_SECRET)
    sealed = sealer.seal("session", sealer.open_session("0a1b2c3d"))
    place = n % len(sealed)
    changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
    assert sealer.read_session(changed) is None


@pytest.mark.parametrize("sealed", ["", ".", "a.b", "é.é", "bnVsbA.", "\x00", "x" * 5000])
def test_what_is_no_cookie_of_ours_is_none(sealed: str) -> None:
    assert Sealer(_SECRET).read_session(sealed) is None


def test_another_secret_and_another_purpose_are_none() -> None:
    sealer = Sealer(_SECRET)
    assert Sealer(b"t" * 32).read_session(sealer.seal("session", sealer.open_session("k"))) is None
    assert sealer.read_session(sealer.seal("told", sealer.open_session("k"))) is None
    assert sealer.read_text("told", sealer.seal("told", "done:it is")) == "done:it is"


def test_a_session_ends() -> None:
    sealer = Sealer(_SECRET)
    over = Session("0a1b2c3d", time.time() - 1, "id")
    assert sealer.read_session(sealer.seal("session", over)) is None
    assert sealer.open_session("k").ends_at < time.time() + session.LASTS_S + 1


def test_a_form_belongs_to_one_session() -> None:
    sealer = Sealer(_SECRET)
    one, other = sealer.open_session("k"), sealer.open_session("k")
    assert not sealer.is_form_token(one, sealer.form_token(other))
    assert not sealer.is_form_token(one, "")
    assert not sealer.is_form_token(one, "é")


def test_the_secret_is_made_once_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    first = load_secret(tmp_path)
    assert len(first) == 64
    assert load_secret(tmp_path) == first
    assert (tmp_path / "console.secret").stat().st_mode & 0o777 == 0o600
    os.chmod(tmp_path / "console.secret", 0o644)
    with pytest.raises(SecretError, match=r"chmod 600"):
        load_secret(tmp_path)


def test_a_secret_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"nowhere: No such file"):
        load_secret(tmp_path, tmp_path / "nowhere")
    (tmp_path / "short").write_text("hunter2\n")
    with pytest.raises(SecretError, match=r"shorter than 32 bytes"):
        load_secret(tmp_path, tmp_path / "short")


def test_who_fails_too_often_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    attempts = Attempts()
    for _ in range(10):
        assert attempts.wait_s("1.2.3.4") == 0
        attempts.failed("1.2.3.4")
    assert attempts.wait_s("1.2.3.4") == 301
    assert attempts.wait_s("5.6.7.8") == 0, "others do not wait"
    now += 302
    assert attempts.wait_s("1.2.3.4") == 0
