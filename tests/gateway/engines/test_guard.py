import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway.engines.child import Child
from tests.gateway.engines.fakes import FakeKind, is_alive, wait_until

# A launcher in miniature: starts one child through `Child`, says its pids, and sleeps.
_LAUNCHER = """
import asyncio, os, sys
from pathlib import Path
from gateway.engines.child import Child

async def main():
    child = await Child.start(sys.argv[2:], os.environ, Path(sys.argv[1]))
    print(child.pid, child._process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def _command(kind: FakeKind, socket: Path) -> list[str]:
    return [sys.executable, "-I", "-S", str(kind.script), str(socket), kind.mode, str(kind.note)]


def _start_launcher(kind: FakeKind, folder: Path) -> tuple[subprocess.Popen[str], int, int, int]:
    """Return the launcher, and the pids of engine, guard and grandchild."""
    launcher = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, str(folder / "log"), *_command(kind, folder / "s")],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    engine, guard = map(int, launcher.stdout.readline().split())
    grandchild = int(wait_until(lambda: kind.note.exists() and kind.note.read_text()))
    return launcher, engine, guard, grandchild


def _finish(launcher: subprocess.Popen[str]) -> None:
    launcher.kill()
    launcher.wait()
    assert launcher.stdout is not None
    launcher.stdout.close()


def test_nothing_is_left_when_the_launcher_is_killed(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    kind = fake("escapes")  # its child has left the session and ignores SIGTERM
    launcher, *pids = _start_launcher(kind, tmp_path)
    assert all(is_alive(pid) for pid in pids)
    _finish(launcher)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_the_engine_dies_even_when_launcher_and_guard_are_killed_together(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    launcher, engine, guard, grandchild = _start_launcher(fake("forks"), tmp_path)
    os.kill(guard, signal.SIGSTOP)  # it cannot react to the launcher's death
    _finish(launcher)
    os.kill(guard, signal.SIGKILL)
    wait_until(lambda: not is_alive(engine))
    os.kill(grandchild, signal.SIGKILL)  # nobody is left who would know of it


async def test_a_killed_guard_takes_its_engine_along(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    kind = fake("forks")
    child = await Child.start(_command(kind, tmp_path / "s"), os.environ, tmp_path / "log")
    engine = child.pid
    assert engine is not None
    grandchild = int(wait_until(lambda: kind.note.exists() and kind.note.read_text()))
    os.kill(child._process.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    await child.kill()
    wait_until(lambda: not is_alive(engine) and not is_alive(grandchild), 2)


async def test_orphaned_workers_die_with_the_engine(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    kind = fake("escapes")
    child = await Child.start(_command(kind, tmp_path / "s"), os.environ, tmp_path / "log")
    assert child.pid is not None
    grandchild = int(wait_until(lambda: kind.note.exists() and kind.note.read_text()))
    os.kill(child.pid, signal.SIGKILL)
    killed = time.monotonic()
    assert await child.wait() == -signal.SIGKILL
    assert time.monotonic() - killed < 0.5
    await child.kill()
    assert not is_alive(grandchild)


async def test_the_status_and_the_output_of_the_command_arrive(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    child = await Child.start(_command(fake("crash"), tmp_path / "s"), os.environ, log)
    assert await child.wait() == 3
    await child.kill()
    assert log.read_text().splitlines()[-1] == "out of memory, or so"


async def test_a_command_that_does_not_exist_ends_with_127(tmp_path: Path) -> None:
    child = await Child.start(["/no/such/program"], os.environ, tmp_path / "log")
    assert await child.wait() == 127
    await child.kill()
    assert "cannot run /no/such/program" in (tmp_path / "log").read_text()


async def test_sigterm_reaches_the_command(fake: Callable[[str], FakeKind], tmp_path: Path) -> None:
    command = _command(fake("slow-exit"), tmp_path / "s")
    child = await Child.start(command, os.environ, tmp_path / "log")
    wait_until(lambda: (tmp_path / "s").exists())
    child.terminate()
    assert await child.wait() == 0
    await child.kill()
    assert "finished its requests" in (tmp_path / "log").read_text()


async def test_the_command_does_not_hold_the_link(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    command = _command(fake("deaf"), tmp_path / "s")
    child = await Child.start(command, os.environ, tmp_path / "log")
    assert child.pid is not None
    wait_until(lambda: "fake engine" in (tmp_path / "log").read_text())
    links = [os.readlink(path) for path in Path(f"/proc/{child.pid}/fd").iterdir()]
    await child.kill()
    assert not [link for link in links if link.startswith("socket:")]
    assert not is_alive(child.pid)
