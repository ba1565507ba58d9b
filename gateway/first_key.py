"""The key that `driftgate serve` makes on a machine that has none, so that one can start at once.

Keys are stored hashed; this one is also kept in `serve.key` in the home folder, readable by its
owner alone, because `serve` prints a command that works as pasted. Delete the file to stop that.
"""

import os
from pathlib import Path

from gateway.auth import KeyRing
from gateway.errors import AuthenticationFailed
from gateway.store.keys import SCOPES, Keys

_FILE = "serve.key"


def first_key(home: Path, keys: Keys) -> str | None:
    """Return the key to print, making it where there is no key at all; None to print none.

    Raises:
        OSError: The file cannot be written.
        StoreError: The store cannot be read.
    """
    file = home / _FILE
    known = keys.all()
    if file.exists():
        text = file.read_text().strip()
        ring = KeyRing(open_without_keys=False)
        ring.load(known)
        try:
            ring.authenticate(f"Bearer {text}".encode())
        except AuthenticationFailed:
            file.unlink()
        else:
            return text
    if any(key.revoked_at is None for key in known):
        return None
    _, text = keys.create("first key, made by serve", SCOPES)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text + "\n")
    return text
