"""Keys for tenants, for as long as a load test takes."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from gateway.store.database import Database
from gateway.store.keys import NO_LIMITS, KeyLimits, Keys

_TENANTS = {
    "large": NO_LIMITS,
    "small": KeyLimits(6, None, None, None, None),
    "narrow": KeyLimits(None, None, 1, None, None),
}


@contextlib.contextmanager
def keys_for(database_url: str, folder: Path) -> Iterator[Path]:
    """Make a key for each tenant in a store; the file of them, and the keys, end with the block.

    Raises:
        StoreError: The store cannot be reached.
    """
    database = Database(database_url)
    keys = Keys(database)
    path = folder / "tenants.json"
    made: list[str] = []
    try:
        rows = []
        for name, limits in _TENANTS.items():
            key, text = keys.create(f"load test: tenant {name}", ("inference",), limits)
            made.append(key.prefix)
            rows.append({"name": name, "key": text, "limited": limits != NO_LIMITS})
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(rows, file)
        yield path
    finally:
        path.unlink(missing_ok=True)
        for prefix in made:
            keys.revoke(prefix)
        database.close()
