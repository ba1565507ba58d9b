"""Run one command and leave nothing of it behind, whoever dies first. Standard library only.

    python -I -S guard.py --parent-fd N -- COMMAND…

The launcher starts this file as the leader of a new session. File descriptor N is one end of a
socket pair whose other end only the launcher holds; the guard writes two lines to it, `pid P`
(the command's process) and `exit C` (its status: 0..255, or minus the signal's number).

- Launcher dies: the socket reads end-of-file, and everything below the guard is killed.
- Command ends or is killed: its status is reported at once, then its orphans are killed.
- Guard is killed: the kernel kills the command (PR_SET_PDEATHSIG), and the launcher kills the
  process group.
- SIGTERM is passed to the command alone, which knows how to finish its own children.

Orphaned descendants become children of the guard (PR_SET_CHILD_SUBREAPER, see prctl(2)), also
those that moved to a session of their own. Where prctl is missing (not Linux) the process group
is all that is killed.
"""

import ctypes
import os
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLEAN_UP_S = 4.0
_POLL_S = 0.005


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status to end with."""
    if len(arguments) < 4 or arguments[0] != "--parent-fd" or arguments[2] != "--":
        sys.stderr.write("usage: guard.py --parent-fd N -- COMMAND…\n")
        return 2
    parent, command = int(arguments[1]), arguments[3:]
    os.set_inheritable(parent, False)
    # Loaded before the fork: the child must not import anything between fork and exec.
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    asked_to_stop: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.append(1))

    child = _spawn(command, parent, prctl)
    try:
        os.write(parent, b"pid %d\n" % child)
        status = _watch(child, parent, wake_read, asked_to_stop)
        if status is not None:
            os.write(parent, b"exit %d\n" % status)
    except (BrokenPipeError, ConnectionResetError):
        status = None  # the launcher died between two of our steps
    _kill_descendants()
    if status is None:
        # Also ends the guard: nobody is left who would read its status.
        os.killpg(0, signal.SIGKILL)
    return status if status is not None and status >= 0 else 128 - (status or 0)


def _spawn(command: list[str], parent: int, prctl: object) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, exec would keep that
        os.close(parent)
        if callable(prctl):
            prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)
        os.execvp(command[0], command)  # noqa: S606 - no shell, that is the point
    except OSError as error:
        os.write(2, f"guard: cannot run {command[0]}: {error}\n".encode())
    os._exit(127)


def _watch(child: int, parent: int, wake: int, asked_to_stop: list[int]) -> int | None:
    """Wait for the command to end; None when the launcher ended first."""
    poller = select.poll()
    poller.register(parent, select.POLLIN)
    poller.register(wake, select.POLLIN)
    while True:
        status = _reap(child)
        if status is not None:
            return status
        while asked_to_stop:
            asked_to_stop.pop()
            os.kill(child, signal.SIGTERM)
        for ready, _ in poller.poll():
            # The launcher never writes: readable means end-of-file.
            if ready == parent and not os.read(parent, 64):
                return None
            if ready == wake:
                os.read(wake, 4096)


def _reap(child: int) -> int | None:
    """Collect whatever has ended; returns the command's status if that is among it."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = os.waitstatus_to_exitcode(status)


def _kill_descendants() -> None:
    """Kill children until none is left; the orphans that each leaves become children in turn."""
    deadline = time.monotonic() + _CLEAN_UP_S
    while time.monotonic() < deadline:
        for pid in _children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        time.sleep(_POLL_S)


def _children() -> list[int]:
    """Return the processes whose parent is this one (proc(5): the fourth field of `stat`)."""
    guard = str(os.getpid())
    found: list[int] = []
    try:
        names = os.listdir("/proc")
    except OSError:
        return found
    for name in names:
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if fields[1].decode() == guard:
            found.append(int(name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
