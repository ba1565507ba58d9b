"""Ties a process to the one that started it, through a pipe as its standard input."""

import os
import stat
import threading


def end_with_parent() -> None:
    """End this process at once when the other end of its standard input closes.

    A process that is started by hand has no pipe there, and is left alone.
    """
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    while os.read(0, 1024):
        pass
    os._exit(70)
