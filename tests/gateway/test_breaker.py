"""The circuit breaker: when an engine rests, for how long, and who finds out that it is well."""

import pytest

from gateway.breaker import Breaker


def _open(now: float = 100.0) -> Breaker:
    breaker = Breaker()
    breaker.failed(now, refused=True)
    return breaker


def test_it_begins_closed() -> None:
    breaker = Breaker()
    assert breaker.allows(0)
    assert breaker.state(0) == "closed"
    assert breaker.opens_in(0) == 0


def test_a_refused_connection_opens_at_once() -> None:
    breaker = _open()
    assert breaker.state(100) == "open"
    assert not breaker.allows(100)
    assert breaker.opens_in(100) == pytest.approx(0.5)
    assert not breaker.allows(100.49)
    assert breaker.allows(100.5)
    assert breaker.state(100.5) == "half_open"
    assert breaker.opens_in(101) == 0


def test_other_faults_open_only_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.sent()
        breaker.failed(100)
    assert breaker.allows(100)
    breaker.sent()
    breaker.succeeded()
    for _ in range(4):
        breaker.failed(100)
    assert breaker.allows(100)
    breaker.failed(100)
    assert breaker.state(100) == "open"
    assert not breaker.allows(100)


def test_a_probe_that_succeeds_closes() -> None:
    breaker = _open()
    breaker.sent()
    breaker.succeeded()
    assert breaker.state(100.6) == "closed"
    assert breaker.allows(100.6)
    for _ in range(4):  # and the count begins anew
        breaker.failed(100.6)
    assert breaker.allows(100.6)


def test_each_failed_probe_doubles_the_rest_up_to_a_limit() -> None:
    breaker, now = _open(), 100.0
    rests = []
    for _ in range(8):
        rests.append(breaker.opens_in(now))
        now += rests[-1]
        assert breaker.allows(now)
        breaker.sent()
        breaker.failed(now)
    assert rests == pytest.approx([0.5, 1, 2, 4, 8, 15, 15, 15])
    breaker.succeeded()
    breaker.failed(now, refused=True)
    assert breaker.opens_in(now) == pytest.approx(0.5), "after a success it begins small again"


def test_only_one_probe_is_under_way() -> None:
    breaker = _open()
    assert breaker.allows(101)
    breaker.sent()
    assert not breaker.allows(101)
    assert not breaker.allows(1000)


def test_a_probe_whose_client_leaves_makes_room_for_another() -> None:
    breaker = _open()
    breaker.sent()
    breaker.let_go()
    assert breaker.allows(101)
    assert breaker.state(101) == "half_open"


def test_requests_that_were_under_way_do_not_lengthen_the_rest() -> None:
    breaker = _open()
    for _ in range(10):
        breaker.failed(100.1, refused=True)
    assert breaker.opens_in(100.1) == pytest.approx(0.4)


def test_requests_that_were_under_way_do_not_fail_the_probe() -> None:
    """What was sent before it opened says nothing of the probe that is under way."""
    breaker = Breaker()
    breaker.sent()  # a request that goes on for long
    breaker.failed(100, refused=True)
    breaker.sent()  # the probe, at 100.5
    breaker.failed(100.6)  # the long request breaks
    assert not breaker.allows(100.6), "the probe is still under way"
    breaker.succeeded()
    assert breaker.allows(100.6)


def test_two_bad_health_checks_in_a_row_open() -> None:
    breaker = Breaker()
    breaker.checked(False, 100)
    assert breaker.allows(100)
    breaker.checked(True, 101)
    breaker.checked(False, 102)
    assert breaker.allows(102)
    breaker.checked(False, 103)
    assert not breaker.allows(103)
    assert breaker.state(103) == "open"


def test_a_good_health_check_ends_the_rest_early_but_only_a_request_closes() -> None:
    breaker, now = _open(), 100.0
    for _ in range(6):  # up to the longest rest
        now += breaker.opens_in(now)
        breaker.failed(now)
    assert not breaker.allows(now + 1)
    breaker.checked(True, now + 1)
    assert breaker.state(now + 1) == "half_open"
    assert breaker.allows(now + 1)
    breaker.sent()
    assert not breaker.allows(now + 1)
    breaker.succeeded()
    assert breaker.state(now + 1) == "closed"


def test_bad_health_checks_keep_an_engine_resting() -> None:
    breaker, now = Breaker(), 100.0
    for _ in range(20):
        breaker.checked(False, now)
        now += 1.0
    assert breaker.state(now) == "open"
    assert not breaker.allows(now)
    breaker.checked(True, now)
    assert breaker.allows(now)


def test_a_good_health_check_of_a_closed_breaker_changes_nothing() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(100)
    breaker.checked(True, 100)
    breaker.failed(100)
    assert breaker.state(100) == "open", "health checks do not hide faults of requests"
    assert not breaker.allows(100)
