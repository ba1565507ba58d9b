import threading

import pytest

from gateway.store.database import Database
from gateway.store.retraining import CLOSED, OPEN, TAKEN, Retraining, RetrainingRequest


def _open(
    requests: Retraining, alias: str = "m", cause: str | None = None
) -> tuple[RetrainingRequest, bool]:
    return requests.open(alias, "r-1", "answers fail", "alert", {"harm": 120.0}, cause)


def test_a_request_is_read_back_as_it_was_made(database: Database) -> None:
    requests = Retraining(database)
    made, new = _open(requests)
    assert new
    assert (made.alias, made.release, made.status) == ("m", "r-1", OPEN)
    assert requests.get(made.id) == made
    assert requests.get("rtr-0") is None


def test_an_alias_has_one_open_request(database: Database) -> None:
    requests = Retraining(database)
    first, _ = _open(requests)
    again, new = requests.open("m", "r-2", "a person asks", "person", {})
    assert not new
    assert again == first
    _, new = _open(requests, "n")
    assert new
    assert len(requests.all()) == 2


def test_after_it_was_taken_another_may_be_opened(database: Database) -> None:
    requests = Retraining(database)
    first, _ = _open(requests)
    assert requests.take(first.id)
    assert not requests.take(first.id)
    second, new = _open(requests)
    assert new
    assert {r.id: r.status for r in requests.all("m")} == {first.id: TAKEN, second.id: OPEN}


def test_the_same_cause_asks_once_even_after_it_was_dealt_with(database: Database) -> None:
    requests = Retraining(database)
    first, _ = _open(requests, cause="alert 1 since noon")
    requests.take(first.id)
    assert requests.close(first.id)
    assert not requests.close(first.id)
    again, new = _open(requests, cause="alert 1 since noon")
    assert not new
    assert (again.id, again.status) == (first.id, CLOSED)
    _, new = _open(requests, cause="alert 1 since midnight")
    assert new


def test_requests_are_listed_the_newest_first_by_alias_and_status(database: Database) -> None:
    requests = Retraining(database)
    first, _ = _open(requests)
    requests.close(first.id)
    second, _ = _open(requests)
    other, _ = _open(requests, "n")
    assert [r.id for r in requests.all()] == [other.id, second.id, first.id]
    assert [r.id for r in requests.all("m")] == [second.id, first.id]
    assert [r.id for r in requests.all("m", OPEN)] == [second.id]
    assert [r.id for r in requests.all(limit=1)] == [other.id]


def test_of_many_at_once_one_opens_it(database: Database) -> None:
    requests = Retraining(database)
    barrier = threading.Barrier(8)
    news: list[bool] = []

    def ask() -> None:
        barrier.wait()
        news.append(_open(requests)[1])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(news) == [False] * 7 + [True]
    assert len(requests.all()) == 1


def test_an_unknown_source_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="a source is one of act"):
        Retraining(database).open("m", "r", "why", "rumour", {})


def test_how_far_a_request_is_and_what_became_of_it(database: Database) -> None:
    requests = Retraining(database)
    made, _ = _open(requests)
    assert not requests.note(made.id, step="attribute")  # nobody has taken it
    requests.take(made.id)
    assert requests.note(made.id, step="train", job="ftjob-1", attribution={"train": True}, rows=9)
    with pytest.raises(ValueError, match="an outcome is one of"):
        requests.close(made.id, "fine")
    assert requests.close(made.id, "promoted", "It answers better.")
    after = requests.get(made.id)
    assert after is not None
    assert (after.step, after.job, after.attribution, after.rows) == (
        None, "ftjob-1", {"train": True}, 9,
    )  # fmt: skip
    assert (after.outcome, after.told) == ("promoted", "It answers better.")
    assert after.closed_at is not None
    assert not requests.note(made.id, step="curate")
