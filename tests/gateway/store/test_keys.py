import hashlib
import re

import pytest
import sqlalchemy as sa

from gateway.store.database import Database
from gateway.store.keys import NO_LIMITS, KeyLimits, Keys


def test_a_key_is_stored_as_the_digest_of_its_secret(database: Database) -> None:
    keys = Keys(database)
    key, text = keys.create("me", ["inference", "admin"])
    match = re.fullmatch(r"dg-([0-9a-f]{8})-([A-Za-z0-9_-]{43})", text)
    assert match is not None
    assert match[1] == key.prefix
    assert key.digest == hashlib.sha256(match[2].encode()).digest()
    assert keys.all() == [key]
    assert key.scopes == frozenset({"inference", "admin"})
    assert key.revoked_at is None
    with database.begin() as connection:
        row = connection.execute(sa.text("SELECT * FROM keys")).one()
    assert match[2] not in repr(row)


def test_keys_differ_and_are_listed_by_age(database: Database) -> None:
    keys = Keys(database)
    made = [keys.create(str(i), ["feedback"]) for i in range(5)]
    assert len({text for _, text in made}) == 5
    assert [key.name for key in keys.all()] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("scopes", [[], ["root"], ["inference", "Admin"]])
def test_a_wrong_scope_makes_no_key(database: Database, scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="scopes are admin, feedback, inference"):
        Keys(database).create("k", scopes)
    assert Keys(database).all() == []


def test_revoking_is_for_good(database: Database) -> None:
    keys = Keys(database)
    key, _ = keys.create("k", ["admin"])
    other, _ = keys.create("other", ["admin"])
    revoked = keys.revoke(key.prefix)
    assert revoked.revoked_at is not None
    assert revoked.revoked_at >= key.created_at
    assert keys.revoke(key.prefix) == revoked  # the first time counts
    assert keys.all() == [revoked, other]
    with pytest.raises(KeyError):
        keys.revoke("ffffffff")


def test_limits_are_kept_and_changed(database: Database) -> None:
    keys = Keys(database)
    limits = KeyLimits(1, 2, 3, 4, 10**15)
    key, _ = keys.create("me", ["inference"], limits)
    other, _ = keys.create("other", ["inference"])
    assert (key.limits, other.limits) == (limits, NO_LIMITS)
    assert keys.all() == [key, other]
    changed = keys.limit(key.prefix, KeyLimits(tokens_per_day=7))
    assert keys.all() == [changed, other]
    assert changed.limits == KeyLimits(tokens_per_day=7)
    with pytest.raises(KeyError):
        keys.limit("ffffffff", NO_LIMITS)


@pytest.mark.parametrize("value", [0, -1, 10**15 + 1])
def test_a_wrong_limit_is_refused(database: Database, value: int) -> None:
    keys = Keys(database)
    key, _ = keys.create("me", ["inference"])
    with pytest.raises(ValueError, match="max_concurrency"):
        keys.create("x", ["inference"], KeyLimits(max_concurrency=value))
    with pytest.raises(ValueError, match="tokens_per_day"):
        keys.limit(key.prefix, KeyLimits(tokens_per_day=value))
    assert keys.all() == [key]
