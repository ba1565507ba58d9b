import threading
import time

from gateway.store.claims import Claims
from gateway.store.database import Database


def test_one_has_a_claim_until_it_gives_it_back(database: Database) -> None:
    claims = Claims(database)
    assert claims.take("rlt-1", "a")
    assert claims.take("rlt-1", "a")
    assert not claims.take("rlt-1", "b")
    assert claims.renew("rlt-1", "a")
    assert not claims.renew("rlt-1", "b")
    claims.release("rlt-1", "b")
    assert not claims.take("rlt-1", "b")
    claims.release("rlt-1", "a")
    assert claims.take("rlt-1", "b")


def test_the_claim_of_a_silent_holder_is_up_for_others(database: Database) -> None:
    claims = Claims(database)
    assert claims.take("rlt-1", "a", stale_s=0.05)
    time.sleep(0.1)
    assert claims.take("rlt-1", "b")
    assert not claims.renew("rlt-1", "a")


def test_of_many_at_once_one_gets_it(database: Database) -> None:
    claims = Claims(database)
    won: list[str] = []

    def take(name: str) -> None:
        if claims.take("rlt-1", name):
            won.append(name)

    threads = [threading.Thread(target=take, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_claim_is_held_until_another_takes_it(database: Database) -> None:
    claims = Claims(database)
    assert not claims.holds("rlt-1", "a")
    claims.take("rlt-1", "a", stale_s=0.0)
    assert claims.holds("rlt-1", "a")
    assert claims.take("rlt-1", "b")
    assert not claims.holds("rlt-1", "a")
